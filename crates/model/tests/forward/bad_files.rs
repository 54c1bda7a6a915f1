//! Hostile GGUF bytes: each is refused with an error that names the field, and none makes the reader panic or allocate by a
//! false count.

use proptest::prelude::*;
use sconce_model::gguf::GgufHeader;
use sconce_model::{Checkpoint, Device, Devices, Llama};

use crate::builder::{GgufBuilder, text_bytes, write_bytes};
use crate::random::Random;
use crate::tiny::Tiny;

/// A valid file with values of every kind.
fn sample() -> GgufBuilder {
    let mut file = Tiny { layers: 1, ..Tiny::odd() }.builder();
    file.text("tokenizer.chat_template", "{{ messages }}");
    file.raw("some.flag", 7, vec![1]);
    file.raw("some.u8", 0, vec![200]);
    file.raw("some.i8", 1, vec![200]);
    file.raw("some.i64", 11, (-5i64).to_le_bytes().to_vec());
    file.raw("some.f64", 12, 2.5f64.to_le_bytes().to_vec());
    let array =
        |element: u32, count: u64, bytes: &[u8]| [&element.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat();
    file.raw("some.texts", 9, array(8, 2, &[text_bytes("a"), text_bytes("ß")].concat()));
    file.raw("some.floats", 9, array(6, 2, &[1f32.to_le_bytes(), 2f32.to_le_bytes()].concat()));
    file.raw("some.integers", 9, array(5, 2, &[7i32.to_le_bytes(), (-7i32).to_le_bytes()].concat()));
    file
}

fn refusal(bytes: &[u8]) -> String {
    GgufHeader::parse(bytes).map_or_else(|error| error.to_string(), |_| "accepted".to_string())
}

#[test]
fn values_of_every_kind_are_read() {
    let header = GgufHeader::parse(&sample().bytes()).expect("a valid file");
    let metadata = &header.metadata;
    assert_eq!(metadata.str("tokenizer.chat_template").ok(), Some("{{ messages }}"));
    assert_eq!(metadata.bool("some.flag").ok(), Some(true));
    assert_eq!(metadata.u32("some.u8").ok(), Some(200));
    assert_eq!(metadata.f32("some.f64").ok(), Some(2.5));
    assert_eq!(
        metadata.str_array("some.texts").map(|texts| texts.to_vec()).ok(),
        Some(vec!["a".to_string(), "ß".to_string()])
    );
    assert_eq!(metadata.f32_array("some.floats").ok(), Some(&[1.0, 2.0][..]));
    assert_eq!(metadata.i32_array("some.integers").ok(), Some(vec![7, -7]));
    assert_eq!(metadata.str_opt("absent").ok(), Some(None));
    let wrong = |error: Result<u32, _>| {
        error.map_or_else(|error: sconce_model::GgufError| error.to_string(), |_| String::new())
    };
    assert!(wrong(metadata.u32("some.i8")).contains("some.i8\" is the integer -56, expected"));
    assert!(wrong(metadata.u32("some.texts")).contains("is an array of strings, expected"));
    assert!(wrong(metadata.u32("absent")).contains("\"absent\" is missing"));
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let file = sample();
    let bytes = file.bytes();
    let header = file.header().len();
    for length in (0..header + 64).chain([bytes.len() - 1]) {
        assert_ne!(refusal(&bytes[..length]), "accepted", "cut at {length}");
    }
    assert_eq!(refusal(&bytes), "accepted");
    assert!(refusal(&bytes[..bytes.len() - 1]).contains("data of tensor"));
}

#[test]
fn what_is_not_gguf_or_another_version_is_refused() {
    assert!(refusal(b"").contains("not a GGUF file"));
    assert!(refusal(b"PK\x03\x04 something else").contains("not a GGUF file"));
    for version in [0, 1, 4, 3 << 24] {
        let message = refusal(&GgufBuilder { version, ..sample() }.bytes());
        assert!(message.contains(&format!("version {version} is not supported")), "{message}");
    }
    assert_eq!(refusal(&GgufBuilder { version: 2, ..sample() }.bytes()), "accepted");
}

#[test]
fn huge_counts_are_refused_before_anything_is_reserved() {
    for count in [u64::MAX, 1 << 40, 1 << 20] {
        let message = refusal(&GgufBuilder { tensor_count: Some(count), ..sample() }.bytes());
        assert!(message.contains("number of tensors"), "{message}");
        let message = refusal(&GgufBuilder { key_count: Some(count), ..sample() }.bytes());
        assert!(message.contains("number of metadata keys"), "{message}");
        for element in [0u32, 4, 6, 8, 10] {
            let mut file = sample();
            file.raw("huge", 9, [&element.to_le_bytes()[..], &count.to_le_bytes()].concat());
            let message = refusal(&file.bytes());
            assert!(message.contains("metadata key \"huge\": array length"), "{message}");
        }
        let mut file = sample();
        file.raw("huge", 8, count.to_le_bytes().to_vec());
        assert!(refusal(&file.bytes()).contains("metadata key \"huge\""));
    }
}

#[test]
fn malformed_keys_and_values_are_refused() {
    let with = |value_type: u32, bytes: &[u8]| {
        let mut file = sample();
        file.raw("bad", value_type, bytes.to_vec());
        refusal(&file.bytes())
    };
    assert!(with(13, &[0; 8]).contains("\"bad\": unknown value type 13"));
    assert!(with(7, &[2]).contains("\"bad\": 2 is invalid, it must be 0 or 1"));
    assert!(with(8, &[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]).contains("\"bad\": not UTF-8"));
    assert!(with(9, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]).contains("\"bad\": nested arrays"));
    assert!(with(9, &[99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).contains("\"bad\": unknown value type 99"));
    let mut file = sample();
    file.keys.push(("some.u8".to_string(), 0, vec![1]));
    assert!(refusal(&file.bytes()).contains("metadata key \"some.u8\" stands in the file twice"));
    for alignment in [0, 1, 4, 24, 1 << 31] {
        let mut file = sample();
        file.u32("general.alignment", alignment);
        let message = refusal(&file.bytes());
        assert!(message.contains("general.alignment\": ") && message.contains("power of two"), "{message}");
    }
    for alignment in [8, 64, 4096] {
        let mut file = GgufBuilder { alignment, ..sample() };
        file.u32("general.alignment", alignment as u32);
        assert_eq!(refusal(&file.bytes()), "accepted");
    }
}

#[test]
fn malformed_tensor_infos_are_refused_with_the_tensor_s_name() {
    let name = "blk.0.attn_q.weight";
    let with = |change: &dyn Fn(&mut crate::builder::BuiltTensor)| {
        let mut file = sample();
        change(file.tensor_mut(name));
        let message = refusal(&file.bytes());
        assert!(message.contains(name), "{message}");
        message
    };
    assert!(with(&|tensor| tensor.dimensions = vec![]).contains("number of dimensions: 0"));
    assert!(with(&|tensor| tensor.dimensions = vec![1; 5]).contains("number of dimensions: 5"));
    assert!(with(&|tensor| tensor.dimensions[1] = 0).contains("a dimension: 0"));
    assert!(with(&|tensor| tensor.dimensions = vec![1 << 32, 1 << 32]).contains("size"));
    // The product wraps to a small number if it is not checked.
    assert!(with(&|tensor| tensor.dimensions = vec![1 << 62, 4, 9]).contains("size"));
    assert!(with(&|tensor| tensor.dimensions = vec![u64::MAX, 1]).contains("size"));
    assert!(with(&|tensor| tensor.type_id = 8).contains("a multiple of 32, the block of Q8_0"));
    assert!(with(&|tensor| tensor.type_id = 23).contains("element type 23 (IQ4_XS) is not supported"));
    assert!(with(&|tensor| tensor.type_id = 99).contains("element type 99 (unknown) is not supported"));
    assert!(with(&|tensor| tensor.offset = Some(7)).contains("a multiple of the alignment 32"));
    assert!(with(&|tensor| tensor.offset = Some(u64::MAX - 31)).contains("cut or damaged"));
    assert!(with(&|tensor| tensor.offset = Some(1 << 40)).contains("cut or damaged"));
    assert!(with(&|tensor| tensor.offset = Some(0)).contains("overlap"));
    let mut file = sample();
    let twin = file.tensor_mut(name).clone();
    file.tensors.push(twin);
    assert!(refusal(&file.bytes()).contains("tensor \"blk.0.attn_q.weight\" stands in the file twice"));
}

#[test]
fn ones_at_the_end_of_a_shape_change_nothing() {
    // One feed-forward unit, so that a matrix ends in a one of its own.
    let tiny = Tiny { inner: 1, layers: 1, ..Tiny::odd() };
    let shapes = |file: &Checkpoint| file.tensors().iter().map(|info| info.dimensions.clone()).collect::<Vec<_>>();
    let (plain, _) = tiny.load();
    for count in 2..=4 {
        let mut builder = tiny.builder();
        for tensor in &mut builder.tensors {
            tensor.dimensions.resize(count.max(tensor.dimensions.len()), 1);
        }
        let written = builder.write();
        let file = Checkpoint::open(written.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(shapes(&file), shapes(&plain));
        Llama::load(&file, &Devices::cpu(), None).unwrap_or_else(|error| panic!("{count} dimensions: {error}"));
        for info in file.tensors() {
            assert!(file.weight(&info.name, &Device::Cpu).is_ok(), "{count} dimensions: {}", info.name);
        }
    }
}

#[test]
fn a_path_that_is_no_file_is_refused_with_the_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = |path: &std::path::Path| {
        Checkpoint::open(path).map_or_else(|error| error.to_string(), |_| "accepted".to_string())
    };
    // A folder may be a model, but only with a configuration.
    let no_model = message(folder.path());
    assert!(
        no_model.contains("no config.json") && no_model.contains(&folder.path().display().to_string()),
        "{no_model}"
    );
    #[cfg(unix)]
    assert!(message(std::path::Path::new("/dev/null")).contains("/dev/null: not a regular file"));
    let missing = message(&folder.path().join("absent.gguf"));
    assert!(missing.contains("absent.gguf"), "{missing}");
    let empty = write_bytes(b"");
    assert!(message(empty.path()).contains(&empty.path().display().to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_in_the_header_never_panics(seed: u64) {
        let file = sample();
        let mut bytes = file.bytes();
        let header = file.header().len();
        let mut random = Random(seed);
        for _ in 0..=random.below(4) {
            let place = random.below(header);
            bytes[place] = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6)];
        }
        let written = write_bytes(&bytes);
        if let Ok(file) = Checkpoint::open(written.path()) {
            // Either answer is fine; what is tested is that there is one.
            let _ = Llama::load(&file, &Devices::cpu(), None);
        }
    }
}
