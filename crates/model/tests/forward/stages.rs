//! Layers over several devices: the same logits, bit for bit, as on one.

use candle_core::quantized::GgmlDType;
use sconce_model::{Checkpoint, Device, Devices, KvCache, KvCacheDtype, Llama, stage_sizes};

use crate::batches::{Sequence, advance};
use crate::random::Random;
use crate::tiny::{Tiny, tokens};

fn logits(model: &Llama, tokens: &[u32]) -> Vec<u32> {
    let mut cache = KvCache::allocate(model, 5, 8, KvCacheDtype::F16).expect("a cache");
    let mut sequence = Sequence::new(tokens, &[4, 0, 3, 1]);
    let mut bits = Vec::new();
    for count in [tokens.len() - 3, 1, 2] {
        let logits = advance(model, &mut cache, &mut sequence, count);
        bits.extend((0..logits.rows()).flat_map(|row| logits.row(row).iter().map(|logit| logit.to_bits())));
    }
    bits
}

#[test]
fn layers_in_several_stages_give_the_bits_of_one_stage() {
    for tied in [false, true] {
        let shape = Tiny { layers: 5, tied, ..Tiny::of(GgmlDType::Q4K) };
        let written = shape.builder().write();
        let file = Checkpoint::open(written.path()).expect("a valid file");
        let load = |count| Llama::load(&file, &Devices::new(vec![Device::Cpu; count]).expect("devices"), None);
        let tokens = tokens(&mut Random(3), 27, shape.vocabulary);
        let expected = logits(&load(1).expect("a model"), &tokens);
        for count in [2, 3, 5] {
            let model = load(count).expect("a model");
            assert_eq!(model.layer_devices().count(), 5);
            let planned = stage_sizes(&file, count).expect("sizes");
            assert!(model.stage_layers().eq(planned.iter().map(|stage| stage.layers)));
            // Norms outside of the layers are too small to be planned.
            let bytes = planned.iter().map(|stage| stage.bytes).sum::<u64>();
            let norm = file.tensor_info("output_norm.weight").expect("a norm").bytes;
            let table = file.tensor_info("token_embd.weight").expect("a table").bytes;
            assert_eq!(
                bytes + norm,
                file.tensors().iter().map(|info| info.bytes).sum::<u64>() + u64::from(tied) * table
            );
            assert!(logits(&model, &tokens) == expected, "{count} stages, tied {tied}");
        }
        let message = load(6).expect_err("refused").to_string();
        assert!(message.contains("6 devices are named for 5 layers"), "{message}");
    }
}
