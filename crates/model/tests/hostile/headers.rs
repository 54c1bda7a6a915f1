//! A table of bad headers: what is wrong, the bytes, and the words that the error must hold.

use sconce_model::gguf::GgufHeader;

use crate::bounded;
use crate::builder::{BuiltTensor, GgufBuilder, text_bytes};

fn tensor(name: &str, dimensions: &[u64], type_id: u32, bytes: usize) -> BuiltTensor {
    BuiltTensor { name: name.to_owned(), dimensions: dimensions.to_vec(), type_id, data: vec![0; bytes], offset: None }
}

fn file(change: impl FnOnce(&mut GgufBuilder)) -> Vec<u8> {
    let mut builder = GgufBuilder::default();
    builder.text("general.architecture", "llama").u32("llama.block_count", 1);
    builder.tensors = vec![tensor("a.weight", &[32, 2], 0, 256), tensor("b.weight", &[32], 0, 128)];
    change(&mut builder);
    builder.bytes()
}

fn array(element: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat()
}

fn with_value(value_type: u32, bytes: Vec<u8>) -> Vec<u8> {
    file(|file| _ = file.raw("bad.key", value_type, bytes))
}

fn with_tensor(change: impl FnOnce(&mut BuiltTensor)) -> Vec<u8> {
    file(|file| change(&mut file.tensors[1]))
}

fn keys_and_values() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let alignment =
        |value_type: u32, bytes: &[u8]| file(|file| _ = file.raw("general.alignment", value_type, bytes.to_vec()));
    let nested = array(9, 1, &array(9, 1, &array(4, 1, &[0; 4])));
    vec![
        ("alignment zero", alignment(4, &[0; 4]), "power of two"),
        ("alignment of 2^63", alignment(10, &(1u64 << 63).to_le_bytes()), "general.alignment"),
        ("negative alignment", alignment(5, &(-32i32).to_le_bytes()), "general.alignment"),
        ("alignment as a float", alignment(6, &32f32.to_le_bytes()), "is the float 32"),
        ("alignment as text", alignment(8, &text_bytes("32")), "is a string"),
        ("array of 2^40 strings", with_value(9, array(8, 1 << 40, &[])), "\"bad.key\": array length: 1099511627776"),
        ("array of 2^40 bytes", with_value(9, array(0, 1 << 40, &[])), "array length"),
        ("array of 2^64-1 doubles", with_value(9, array(12, u64::MAX, &[])), "array length"),
        ("array count that wraps in bytes", with_value(9, array(12, 1 << 61, &[])), "array length"),
        ("array count one too many", with_value(9, array(10, 300, &[0; 8])), "array length"),
        ("string beyond the file", with_value(8, u64::MAX.to_le_bytes().to_vec()), "\"bad.key\""),
        ("string of 2^32", with_value(8, (1u64 << 32).to_le_bytes().to_vec()), "\"bad.key\""),
        ("entry beyond the file", with_value(9, array(8, 1, &u64::MAX.to_le_bytes())), "\"bad.key\", entry 0"),
        ("entry that is no text", with_value(9, array(8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])), "entry 0: not UTF-8"),
        ("nested arrays", with_value(9, nested), "nested arrays"),
        ("array of an unknown type", with_value(9, array(13, 0, &[])), "unknown value type 13"),
        ("value of an unknown type", with_value(u32::MAX, vec![]), "unknown value type 4294967295"),
        ("truth of 255 in an array", with_value(9, array(7, 2, &[1, 255])), "255 is invalid"),
        ("key twice", file(|file| file.keys.push(file.keys[0].clone())), "stands in the file twice"),
        ("key of 64 KiB", file(|file| _ = file.u32(&"k".repeat(1 << 16), 1)), "metadata key 2: 65536 is more"),
        ("more keys than there are", file(|file| file.key_count = Some(3)), "name of tensor 0"),
        ("fewer keys than there are", file(|file| file.key_count = Some(1)), "tensor"),
        ("2^63 keys", file(|file| file.key_count = Some(1 << 63)), "number of metadata keys"),
        ("2^63 tensors", file(|file| file.tensor_count = Some(1 << 63)), "number of tensors"),
        ("more tensors than there are", file(|file| file.tensor_count = Some(3)), "tensor"),
    ]
}

fn tensors() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let shape = |dimensions: &'static [u64]| with_tensor(|tensor| tensor.dimensions = dimensions.to_vec());
    let offset = |offset: u64| with_tensor(|tensor| tensor.offset = Some(offset));
    vec![
        ("no dimensions", shape(&[]), "\"b.weight\": number of dimensions"),
        ("a dimension of zero", shape(&[32, 0]), "\"b.weight\": a dimension"),
        ("a product that wraps to zero", shape(&[1 << 32, 1 << 32]), "\"b.weight\": size"),
        ("a product that wraps to a little", shape(&[1 << 63, 2, 32]), "\"b.weight\": size"),
        ("bytes that wrap", shape(&[1 << 62, 3]), "\"b.weight\": size"),
        ("bytes beyond the file", shape(&[1 << 40]), "data of tensor \"b.weight\""),
        ("the same bytes", offset(0), "\"a.weight\" and \"b.weight\" overlap"),
        ("some of the same bytes", offset(224), "\"a.weight\" and \"b.weight\" overlap"),
        ("an end that wraps", offset(u64::MAX - 31), "data of tensor \"b.weight\""),
        ("off the alignment", offset(257), "multiple of the alignment"),
        (
            "name twice",
            with_tensor(|tensor| tensor.name = "a.weight".to_owned()),
            "\"a.weight\" stands in the file twice",
        ),
        (
            "a name of 4 KiB",
            with_tensor(|tensor| tensor.name = "n".repeat(4096)),
            "name of tensor 1: 4096 is more than 256",
        ),
    ]
}

#[test]
fn each_bad_header_is_refused_by_name_within_bounds() {
    for (what, bytes, expected) in keys_and_values().into_iter().chain(tensors()) {
        let refusal = bounded(what, bytes.len(), || GgufHeader::parse(&bytes).map(|_| ()));
        let message = refusal.map_or_else(|error| error.to_string(), |()| "accepted".to_owned());
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn every_type_that_is_not_computed_with_is_named_with_its_tensor() {
    let known = [
        (4, "Q4_2"),
        (5, "Q4_3"),
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (31, "Q4_0_4_4"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
        (40, "NVFP4"),
        (41, "Q1_0"),
        (42, "Q2_0"),
        (43, "unknown"),
        (u32::MAX, "unknown"),
    ];
    for (id, name) in known {
        let bytes = with_tensor(|tensor| tensor.type_id = id);
        let message = GgufHeader::parse(&bytes).map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
        let expected = format!("tensor \"b.weight\": element type {id} ({name}) is not supported");
        assert_eq!(message, expected);
    }
}

#[test]
fn a_header_cut_at_any_byte_is_refused() {
    let whole = file(|_| {});
    assert!(GgufHeader::parse(&whole).is_ok());
    for length in 0..whole.len() {
        let refused = bounded("cut", length, || GgufHeader::parse(&whole[..length]).is_err());
        assert!(refused, "cut at {length}");
    }
}
