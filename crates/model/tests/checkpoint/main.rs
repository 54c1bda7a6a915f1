//! Where weights come from: safetensors folders, split GGUF files, and conversion between types.

mod configuration;
mod convert;
mod folder;
mod safetensors;
mod split;

use sconce_model::{Checkpoint, Device, Devices, ForwardBatch, KvCache, KvCacheDtype, Llama};

/// The logits of some tokens, as bits.
fn logits(checkpoint: &Checkpoint) -> Vec<u32> {
    let model = Llama::load(checkpoint, &Devices::cpu(), None).unwrap_or_else(|error| panic!("{error}"));
    let mut cache = KvCache::allocate(&model, 2, 32, KvCacheDtype::F32).expect("memory");
    let rows = 12;
    let batch = ForwardBatch {
        input_ids: (0..rows).map(|row| row * 3).collect(),
        positions: (0..rows).collect(),
        slot_mapping: (0..rows).collect(),
        cu_seqlens_q: vec![0, rows],
        seq_lens_k: vec![rows],
        block_tables: vec![0],
        cu_blocks: vec![0, 1],
        logits_rows: (0..rows).collect(),
    };
    let logits = model.forward(&batch, &mut cache).unwrap_or_else(|error| panic!("{error}"));
    (0..rows as usize).flat_map(|row| logits.row(row).iter().map(|logit| logit.to_bits()).collect::<Vec<_>>()).collect()
}

/// A tensor's numbers.
fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let weight = checkpoint.weight(name, &Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
    weight.dequantize().and_then(|tensor| Ok(tensor.flatten_all()?.to_vec1()?)).expect("numbers")
}

/// What opening a path is refused with.
fn refusal(path: &std::path::Path) -> String {
    Checkpoint::open(path).map_or_else(|error| error.to_string(), |_| panic!("{} is accepted", path.display()))
}
