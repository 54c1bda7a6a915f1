//! Weights that are NaN or infinite, in the types whose blocks have scales and in those that have none.

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use sconce_model::{Checkpoint, Devices, Llama, ModelError};

use crate::builder::GgufBuilder;
use crate::tiny::Tiny;

fn check(builder: &GgufBuilder, token: u32) -> Result<(), ModelError> {
    let written = builder.write();
    let file = Checkpoint::open(written.path()).unwrap_or_else(|error| panic!("{error}"));
    let model = Llama::load(&file, &Devices::cpu(), None).unwrap_or_else(|error| panic!("{error}"));
    model.check_finite(&file, token)
}

/// A model of one layer whose tensor has these bytes at a place in its row 3.
fn spoiled(dtype: GgmlDType, name: &str, at: usize, bytes: &[u8]) -> GgufBuilder {
    let mut builder = Tiny { layers: 1, ..Tiny::of(dtype) }.builder();
    let tensor = builder.tensor_mut(name);
    let row_bytes = tensor.data.len() / tensor.dimensions[1] as usize;
    let at = 3 * row_bytes + at;
    tensor.data[at..at + bytes.len()].copy_from_slice(bytes);
    builder
}

#[test]
fn a_weight_that_is_no_number_is_named_by_tensor_and_row() {
    let nan = f16::NAN.to_le_bytes();
    let infinite = f16::INFINITY.to_le_bytes();
    // In blocks, the scale or the minimum is what is spoiled.
    let cases = [
        (GgmlDType::F32, 8, f32::NAN.to_le_bytes().to_vec()),
        (GgmlDType::F32, 8, f32::INFINITY.to_le_bytes().to_vec()),
        (GgmlDType::F16, 4, nan.to_vec()),
        (GgmlDType::F16, 4, infinite.to_vec()),
        (GgmlDType::BF16, 6, bf16::NAN.to_le_bytes().to_vec()),
        (GgmlDType::Q4_0, 18, nan.to_vec()),
        (GgmlDType::Q4_1, 2, nan.to_vec()),
        (GgmlDType::Q5_0, 22, infinite.to_vec()),
        (GgmlDType::Q5_1, 2, infinite.to_vec()),
        (GgmlDType::Q2K, 80, nan.to_vec()),
        (GgmlDType::Q2K, 82, nan.to_vec()),
        (GgmlDType::Q3K, 108, infinite.to_vec()),
        (GgmlDType::Q5K, 2, nan.to_vec()),
        (GgmlDType::Q6K, 208, nan.to_vec()),
        (GgmlDType::Q8_0, 0, nan.to_vec()),
        (GgmlDType::Q8_0, 34, infinite.to_vec()),
        (GgmlDType::Q4K, 0, nan.to_vec()),
        (GgmlDType::Q4K, 2, infinite.to_vec()),
    ];
    for name in ["blk.0.attn_v.weight", "blk.0.ffn_up.weight", "output.weight"] {
        for (dtype, at, bytes) in &cases {
            let found = check(&spoiled(*dtype, name, *at, bytes), 1);
            let Err(ModelError::NotFinite { tensor, row: 3, value }) = found else {
                panic!("{dtype:?} {name}: {found:?}");
            };
            assert!(tensor == name && !value.is_finite(), "{tensor}");
        }
    }
}

#[test]
fn a_norm_that_is_no_number_is_named() {
    let mut builder = Tiny { layers: 1, ..Tiny::odd() }.builder();
    builder.tensor_mut("blk.0.ffn_norm.weight").data[..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    let found = check(&builder, 0);
    assert!(
        matches!(&found, Err(ModelError::NotFinite { tensor, row: 0, .. }) if tensor == "blk.0.ffn_norm.weight"),
        "{found:?}"
    );
}

#[test]
fn weights_that_are_numbers_but_too_large_are_told_apart() {
    let mut builder = Tiny { layers: 1, ..Tiny::odd() }.builder();
    for name in ["output_norm.weight", "output.weight"] {
        let data = &mut builder.tensor_mut(name).data;
        data.chunks_exact_mut(4).for_each(|weight| weight.copy_from_slice(&f32::MAX.to_le_bytes()));
    }
    let found = check(&builder, 5);
    assert!(matches!(found, Err(ModelError::Overflow { token: 5 })), "{found:?}");
}

#[test]
fn a_weight_that_no_early_token_touches_is_named_all_the_same() {
    let builder = spoiled(GgmlDType::F32, "token_embd.weight", 0, &f32::NAN.to_le_bytes());
    for token in [1, 3] {
        let found = check(&builder, token);
        let Err(ModelError::NotFinite { tensor, row: 3, .. }) = found else { panic!("{found:?}") };
        assert_eq!(tensor, "token_embd.weight");
    }
}

#[test]
fn a_good_model_passes_in_every_type_and_so_does_a_token_that_it_lacks() {
    for dtype in [GgmlDType::F32, GgmlDType::F16, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let builder = Tiny { layers: 1, ..Tiny::of(dtype) }.builder();
        assert!(check(&builder, 1).is_ok() && check(&builder, u32::MAX).is_ok(), "{dtype:?}");
    }
}
