//! The real forward against the naive one, with stated tolerances.

use candle_core::quantized::GgmlDType;
use sconce_model::{KvCache, KvCacheDtype};

use crate::batches::{Sequence, advance};
use crate::naive::NaiveLlama;
use crate::random::Random;
use crate::tiny::{Tiny, tokens};

/// The difference between the two forwards over all positions.
struct Difference {
    /// The largest difference, relative to the largest logit.
    worst: f64,
    /// The root mean square of the differences, relative to that of the logits.
    mean: f64,
}

fn difference(shape: &Tiny, dtype: KvCacheDtype) -> Difference {
    let (file, model) = shape.load();
    let naive = NaiveLlama::new(&file, model.config());
    let tokens = tokens(&mut Random(5), 45, shape.vocabulary);
    let expected = naive.logits(&tokens);
    let mut cache = KvCache::allocate(&model, 8, 8, dtype).expect("a cache");
    let mut sequence = Sequence::new(&tokens, &[3, 1, 0, 7, 2, 6]);
    let logits = advance(&model, &mut cache, &mut sequence, tokens.len());
    let (mut largest, mut worst) = (0f64, 0f64);
    let (mut squares, mut square_errors) = (0f64, 0f64);
    for (row, expected) in expected.iter().enumerate() {
        for (logit, expected) in logits.row(row).iter().zip(expected) {
            largest = largest.max(expected.abs());
            let error = (f64::from(*logit) - expected).abs();
            worst = worst.max(error);
            squares += expected * expected;
            square_errors += error * error;
        }
    }
    assert!(largest > 0.5, "logits of at most {largest} say nothing");
    Difference { worst: worst / largest, mean: (square_errors / squares).sqrt() }
}

#[test]
fn float_weights_agree_with_the_naive_forward() {
    for dtype in [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16] {
        let found = difference(&Tiny::of(dtype), KvCacheDtype::F32).worst;
        assert!(found < 2e-5, "{dtype:?}: {found}");
    }
    let found = difference(&Tiny::of(GgmlDType::F32), KvCacheDtype::F16).worst;
    assert!(found < 5e-3, "a half-precision cache: {found}");
    // Three bits less of a number, so eight times the difference.
    let found = difference(&Tiny::of(GgmlDType::F32), KvCacheDtype::Bf16).worst;
    assert!(found < 4e-2, "a cache of bf16: {found}");
    // Half a 127th of the largest of 32 numbers, at most.
    let found = difference(&Tiny::of(GgmlDType::F32), KvCacheDtype::Q8_0).worst;
    assert!(found < 4e-2, "a cache of eight bits: {found}");
}

#[test]
fn odd_sizes_tied_output_rope_factors_and_scaling_agree_with_the_naive_forward() {
    let factors = vec![1.0, 1.5, 2.0, 4.0, 8.0];
    let shapes = [
        Tiny::odd(),
        Tiny { tied: true, ..Tiny::odd() },
        Tiny { rope_factors: Some(factors), ..Tiny::odd() },
        Tiny { linear_scale: Some(4.0), ..Tiny::odd() },
        Tiny { rope_dimensions: Some(6), ..Tiny::odd() },
        Tiny { kv_heads: 6, ..Tiny::odd() },
        Tiny { kv_heads: 1, layers: 3, ..Tiny::odd() },
    ];
    for shape in shapes {
        let found = difference(&shape, KvCacheDtype::F32).worst;
        assert!(found < 2e-5, "{shape:?}: {found}");
    }
}

#[test]
fn every_architecture_agrees_with_the_naive_forward() {
    for architecture in ["llama", "mistral3", "qwen2", "qwen3", "phi3"] {
        for sliding_window in [None, Some(7), Some(44)] {
            for rope_dimensions in [None, Some(6)] {
                let shape = Tiny { architecture, sliding_window, rope_dimensions, ..Tiny::odd() };
                let found = difference(&shape, KvCacheDtype::F32).worst;
                assert!(found < 2e-5, "{shape:?}: {found}");
            }
        }
    }
}

#[test]
fn fused_projections_are_cut_between_quantized_rows() {
    for dtype in [GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let shape = Tiny { architecture: "phi3", ..Tiny::of(dtype) };
        let found = difference(&shape, KvCacheDtype::F32).mean;
        assert!(found < 5e-2, "{dtype:?}: {found}");
    }
}

#[test]
fn quantized_weights_agree_within_the_rounding_of_activations() {
    // Activations are rounded to 8 bits in each product, so the bound is far wider than that of floats. A wrong
    // layout or scale would give a difference near one.
    let dtypes = [
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];
    for dtype in dtypes {
        let found = difference(&Tiny::of(dtype), KvCacheDtype::F32).mean;
        assert!(found < 5e-2, "{dtype:?}: {found}");
    }
}
