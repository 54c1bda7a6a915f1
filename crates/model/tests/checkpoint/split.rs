//! GGUF files in parts, and of version 2.

use std::path::Path;

use sconce_model::Checkpoint;
use sconce_model::gguf::write::{GgufWriter, WriteTensor, WriteValue};
use sconce_model::synth::Quantization;
use sconce_model::{Device, GgufError, ModelError};

use crate::folder::{Dtype, llama_config, llama_tensors, write_folder};
use crate::{floats, logits, refusal};

/// The small model, converted.
fn whole(folder: &Path) -> Checkpoint {
    write_folder(folder, &llama_config(), &llama_tensors(), Dtype::F32);
    let file = folder.join("whole.gguf");
    let (converted, _) = Checkpoint::open(folder).unwrap().quantized(Quantization::F32);
    converted.write_gguf(&file, Quantization::F32, &[], &mut |_, _| {}).unwrap();
    Checkpoint::open(&file).unwrap()
}

/// Writes a part: the tensors of these places, and what it says of the whole.
fn write_part(path: &Path, whole: &Checkpoint, places: std::ops::Range<usize>, number: u32, count: u32, tensors: u32) {
    let mut metadata = vec![
        ("split.no".to_string(), WriteValue::U32(number)),
        ("split.count".to_string(), WriteValue::U32(count)),
        ("split.tensors.count".to_string(), WriteValue::U32(tensors)),
    ];
    if number == 0 {
        for key in whole.metadata().keys() {
            let value = match whole.metadata().get(key).unwrap() {
                sconce_model::gguf::Value::Unsigned(value) => WriteValue::U32(*value as u32),
                sconce_model::gguf::Value::Float(value) => WriteValue::F32(*value as f32),
                sconce_model::gguf::Value::Text(text) => WriteValue::Text(text.clone()),
                other => panic!("{other:?}"),
            };
            metadata.push((key.to_string(), value));
        }
    }
    let infos = &whole.tensors()[places];
    let header = |info: &sconce_model::gguf::TensorInfo| WriteTensor {
        name: info.name.clone(),
        dimensions: info.dimensions.clone(),
        weight_type: info.weight_type,
    };
    let headers: Vec<WriteTensor> = infos.iter().map(header).collect();
    let mut writer = GgufWriter::new(std::fs::File::create(path).unwrap(), &metadata, &headers).unwrap();
    for info in infos {
        let bytes: Vec<u8> = floats(whole, &info.name).iter().flat_map(|value| value.to_le_bytes()).collect();
        writer.write(&bytes).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn any_part_leads_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let expected = logits(&whole);
    let total = whole.tensors().len();
    let part = |number: u32| folder.path().join(format!("model-{:05}-of-00003.gguf", number + 1));
    let ranges = [0..5, 5..11, 11..total];
    for (number, range) in ranges.iter().enumerate() {
        write_part(&part(number as u32), &whole, range.clone(), number as u32, 3, total as u32);
    }
    for number in 0..3 {
        assert_eq!(logits(&Checkpoint::open(&part(number)).unwrap()), expected, "part {number}");
    }

    write_part(&part(1), &whole, 5..11, 1, 4, total as u32);
    assert!(refusal(&part(0)).contains("00002-of-00003.gguf: split.count is 4, but 3"));
    write_part(&part(1), &whole, 5..11, 2, 3, total as u32);
    assert!(refusal(&part(0)).contains("00002-of-00003.gguf: split.no is 2"));
    write_part(&part(1), &whole, 4..11, 1, 3, total as u32 + 1);
    let told = refusal(&part(2));
    assert!(told.contains("split.tensors.count"), "{told}");
    write_part(&part(0), &whole, 0..5, 0, 3, total as u32 + 1);
    let told = refusal(&part(2));
    assert!(told.contains("00002-of-00003.gguf") && told.contains("twice"), "{told}");
    std::fs::remove_file(part(1)).unwrap();
    let told = refusal(&part(0));
    assert!(told.contains("00002-of-00003.gguf: part 2 of 3 is missing"), "{told}");
    let renamed = folder.path().join("renamed.gguf");
    std::fs::rename(part(0), &renamed).unwrap();
    assert!(refusal(&renamed).contains("must end in \"-00001-of-00003.gguf\""));
}

#[test]
fn a_part_that_promises_too_many_or_a_wrong_place_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let path = folder.path().join("model-00001-of-00002.gguf");
    write_part(&path, &whole, 0..3, 0, u32::MAX, 3);
    assert!(refusal(&path).contains("at most 1024 parts"));
    write_part(&path, &whole, 0..3, 2, 2, 3);
    assert!(refusal(&path).contains("split.no is 2, must be below split.count 2"));
}

#[test]
fn version_2_is_read_like_version_3() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let mut bytes = std::fs::read(whole.path()).unwrap();
    bytes[4] = 2;
    let second = folder.path().join("second.gguf");
    std::fs::write(&second, bytes).unwrap();
    assert_eq!(logits(&Checkpoint::open(&second).unwrap()), logits(&whole));
}

#[test]
fn some_rows_of_a_matrix_are_those_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = whole(folder.path());
    let name = "blk.0.attn_q.weight";
    // From the file, from the folder with its rows in another order, and converted on the way.
    let (converted, _) = Checkpoint::open(folder.path()).unwrap().quantized(Quantization::Q8_0);
    for checkpoint in [whole, Checkpoint::open(folder.path()).unwrap(), converted] {
        let all = crate::floats(&checkpoint, name);
        let some = checkpoint.weight_rows(name, 7..39, &Device::Cpu).unwrap();
        assert_eq!((some.outputs(), some.inputs()), (32, 64));
        let some: Vec<f32> = some.dequantize().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(some, all[7 * 64..39 * 64]);
        for rows in [0..65, 3..3, 64..65] {
            let refused = checkpoint.weight_rows(name, rows, &Device::Cpu).unwrap_err();
            assert!(matches!(refused, ModelError::Metadata(GgufError::Invalid { .. })), "{refused}");
        }
    }
}
