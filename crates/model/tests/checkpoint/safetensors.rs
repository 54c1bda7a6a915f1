//! Folders of safetensors: the same model as a GGUF file of it, and what is refused.

use sconce_model::Checkpoint;
use sconce_model::synth::Quantization;
use serde_json::json;

use crate::folder::{
    Dtype, HEAD, HEADS, LAYERS, Stored, WIDTH, llama_config, llama_tensors, write_folder, write_weights,
};
use crate::{floats, logits, refusal};

#[test]
fn a_folder_and_the_f32_file_made_of_it_give_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &llama_config(), &llama_tensors(), Dtype::F32);
    let opened = Checkpoint::open(folder.path()).unwrap();
    let expected = logits(&opened);
    let file = folder.path().join("model.gguf");
    let (converted, fallbacks) = opened.quantized(Quantization::F32);
    assert_eq!(fallbacks, []);
    let mut told = (0, 0);
    converted.write_gguf(&file, Quantization::F32, &[], &mut |written, total| told = (written, total)).unwrap();
    assert_eq!(told.0, told.1);
    let written = Checkpoint::open(&file).unwrap();
    assert_eq!(logits(&written), expected);
    assert_eq!(logits(&converted), expected);
    assert_eq!(written.metadata().u32("general.file_type").unwrap(), 0);
    assert_eq!(written.metadata().u32("llama.block_count").unwrap(), LAYERS as u32);
    assert!(!folder.path().join("model.gguf.partial").exists());
}

#[test]
fn rows_of_queries_and_keys_come_in_neighbouring_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = llama_tensors();
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::F32);
    let opened = Checkpoint::open(folder.path()).unwrap();
    for (stored, name) in [("q_proj", "attn_q"), ("k_proj", "attn_k")] {
        let stored = format!("model.layers.1.self_attn.{stored}.weight");
        let stored = &tensors.iter().find(|tensor| tensor.name == stored).unwrap().values;
        let taken = floats(&opened, &format!("blk.1.{name}.weight"));
        for row in 0..taken.len() / WIDTH {
            // The first half of a head goes to its even rows, the second half to its odd ones.
            let (head, inside) = (row / HEAD, row % HEAD);
            let half = HEAD / 2;
            let from = head * HEAD + if inside < half { 2 * inside } else { 2 * (inside - half) + 1 };
            assert_eq!(&stored[row * WIDTH..(row + 1) * WIDTH], &taken[from * WIDTH..(from + 1) * WIDTH], "row {row}");
        }
    }
    let taken = floats(&opened, "blk.1.attn_v.weight");
    let stored = &tensors.iter().find(|tensor| tensor.name == "model.layers.1.self_attn.v_proj.weight").unwrap().values;
    assert_eq!(&taken, stored);
}

#[test]
fn a_bias_of_queries_is_put_in_the_order_of_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = llama_tensors();
    let values = (0..HEADS * HEAD).map(|row| row as f32).collect();
    let name = "model.layers.0.self_attn.q_proj.bias".to_string();
    tensors.push(Stored { name, shape: vec![HEADS * HEAD], values });
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::F32);
    let bias = floats(&Checkpoint::open(folder.path()).unwrap(), "blk.0.attn_q.bias");
    assert_eq!(bias[..6], [0.0, 8.0, 1.0, 9.0, 2.0, 10.0]);
    assert_eq!(bias[HEAD..HEAD + 4], [16.0, 24.0, 17.0, 25.0]);
}

#[test]
fn several_files_with_an_index_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = llama_tensors();
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::Bf16);
    let expected = logits(&Checkpoint::open(folder.path()).unwrap());
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let (first, second) = tensors.split_at(7);
    write_weights(&folder.path().join(names[0]), first, Dtype::Bf16);
    write_weights(&folder.path().join(names[1]), second, Dtype::Bf16);
    assert!(refusal(folder.path()).contains("neither model.safetensors nor"));
    let file_of = |index: usize| names[usize::from(index >= 7)];
    let map: serde_json::Map<_, _> =
        tensors.iter().enumerate().map(|(index, tensor)| (tensor.name.clone(), json!(file_of(index)))).collect();
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, json!({ "weight_map": map.clone() }).to_string()).unwrap();
    assert_eq!(logits(&Checkpoint::open(folder.path()).unwrap()), expected);

    let changed = |key: &str, file: &str| {
        let mut map = map.clone();
        map.insert(key.to_string(), json!(file));
        std::fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
        refusal(folder.path())
    };
    assert!(changed("lm_head.weight", names[1]).contains("is missing, but"));
    assert!(changed("lm_head.weight", "../model.safetensors").contains("is no name of a safetensors file"));
    assert!(changed("lm_head.weight", "/etc/passwd").contains("is no name of a safetensors file"));
    // A third file that holds a tensor again.
    write_weights(&folder.path().join("third.safetensors"), &tensors[3..4], Dtype::Bf16);
    assert!(changed("lm_head.weight", "third.safetensors").contains("is missing, but"));
    assert!(changed(&tensors[3].name, "third.safetensors").contains("twice"));
}

#[test]
fn the_output_is_the_embedding_only_where_the_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = llama_config();
    let all = llama_tensors();
    let without: Vec<Stored> = all.iter().filter(|tensor| tensor.name != "lm_head.weight").cloned().collect();
    write_folder(folder.path(), &config, &without, Dtype::F32);
    assert!(refusal(folder.path()).contains("tie_word_embeddings is false"));
    config["tie_word_embeddings"] = json!(true);
    write_folder(folder.path(), &config, &without, Dtype::F32);
    let tied = logits(&Checkpoint::open(folder.path()).unwrap());
    write_folder(folder.path(), &config, &all, Dtype::F32);
    let opened = Checkpoint::open(folder.path()).unwrap();
    assert!(opened.tensor_info("output.weight").is_none());
    assert_eq!(logits(&opened), tied);
}

#[test]
fn what_is_no_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(folder.path()).contains("no config.json"));
    std::fs::write(folder.path().join("config.json"), "[1]").unwrap();
    assert!(refusal(folder.path()).contains("config.json: not a JSON object"));
    let mut tensors = llama_tensors();
    tensors.push(Stored { name: "model.layers.0.mlp.router.weight".into(), shape: vec![4], values: vec![0.0; 4] });
    write_folder(folder.path(), &llama_config(), &tensors, Dtype::F32);
    assert!(refusal(folder.path()).contains("model.safetensors: tensor \"model.layers.0.mlp.router.weight\""));
    let whole = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        std::fs::write(folder.path().join("model.safetensors"), &whole[..length]).unwrap();
        assert!(refusal(folder.path()).contains("model.safetensors"));
    }
}

#[test]
fn files_beside_the_weights_are_offered() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &llama_config(), &llama_tensors(), Dtype::F32);
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let opened = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(opened.companion("tokenizer.json").unwrap().as_deref(), Some(b"{}".as_slice()));
    assert_eq!(opened.companion("generation_config.json").unwrap(), None);
}
