//! Norm, gate, rotation, block copies and row selection against their references.

use candle_core::{DType, Device, Tensor};
use sconce_kernels::{
    BlockCopy, Indices, PagedBatch, PagedBatchParts, RopeFrequencies, block_copy, reference, rope_kv_write,
    select_rows, silu_mul,
};

use crate::random::Random;

fn matrix(values: &[f32], columns: usize) -> Tensor {
    Tensor::from_slice(values, (values.len() / columns, columns), &Device::Cpu).expect("a tensor")
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()).and_then(|flat| flat.to_vec1()).expect("floats")
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs() / expected.abs().max(1.0);
        assert!(error < tolerance, "{found} instead of {expected}");
    }
}

#[test]
fn silu_mul_agrees_with_the_reference() {
    let mut random = Random(2);
    for (rows, width) in [(1, 1), (3, 5), (2, 1023), (7, 1025), (3, 5632)] {
        let gate: Vec<f32> = random.vector(rows * width).iter().map(|x| x * 20.0).collect();
        let up = random.vector(rows * width);
        let found = silu_mul(&matrix(&gate, width), &matrix(&up, width)).expect("fitting shapes");
        assert_close(&values(&found), &reference::silu_mul(&gate, &up), 1e-6);
    }
    let extreme = matrix(&[-1e30, 1e30, -200.0, 200.0], 4);
    let found = values(&silu_mul(&extreme, &matrix(&[1.0; 4], 4)).expect("fitting shapes"));
    assert!(found[0].abs() < 1e-7 && found[1] == 1e30 && found[2].abs() < 1e-30 && found[3] == 200.0, "{found:?}");
    assert!(silu_mul(&matrix(&[0.0; 8], 4), &matrix(&[0.0; 8], 2)).is_err());
}

#[test]
fn rope_and_the_cache_write_agree_with_the_reference() {
    let mut random = Random(3);
    for (heads, kv_heads, head_dim, pairs) in [(1, 1, 2, 1), (6, 3, 10, 5), (6, 2, 10, 3), (8, 4, 8, 4), (4, 1, 64, 32)]
    {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let positions = [0u32, 1, 2, 900];
            let slots = [13u32, 2, 7, 0];
            let factors: Vec<f32> = (0..pairs).map(|pair| 1.0 + pair as f32 / 4.0).collect();
            let parts = PagedBatchParts {
                positions: &positions,
                slot_mapping: &slots,
                cu_seqlens_q: &[0, 3, 4],
                seq_lens_k: &[3, 901],
                block_tables: &[1; 301],
                cu_blocks: &[0, 1, 301],
            };
            // A table of 300 blocks of four covers position 900; which blocks they are does not matter to the write.
            let batch = PagedBatch::new(parts, 4, 4).expect("a valid batch");
            let cache = || Tensor::zeros((4, 4, kv_heads, head_dim), dtype, &Device::Cpu).expect("a cache");
            let (keys, cached_values) = (cache(), cache());
            let query = random.vector(4 * heads * head_dim);
            let (key, value) = (random.vector(4 * kv_heads * head_dim), random.vector(4 * kv_heads * head_dim));
            let frequencies = RopeFrequencies::new(2 * pairs, 500_000.0, 2.0, Some(&factors)).expect("even dimensions");
            let rotated = rope_kv_write(
                &matrix(&query, heads * head_dim),
                &matrix(&key, kv_heads * head_dim),
                &matrix(&value, kv_heads * head_dim),
                &frequencies.table(&batch).expect("a table"),
                &batch,
                &keys,
                &cached_values,
            )
            .expect("fitting shapes");
            let per_pair = reference::rope_frequencies(2 * pairs, 500_000.0, 2.0, Some(&factors));
            let rotate = |rows: &[f32], heads: usize| -> Vec<f64> {
                let head = |(index, head): (usize, &[f32])| {
                    let head: Vec<f64> = head.iter().map(|value| f64::from(*value)).collect();
                    reference::rope(&head, positions[index / heads], &per_pair)
                };
                rows.chunks_exact(head_dim).enumerate().flat_map(head).collect()
            };
            assert_close(&values(&rotated), &rotate(&query, heads), 1e-6);
            let tolerance = match dtype {
                DType::F32 => 1e-6,
                DType::F16 => 1e-3,
                _ => 1e-2,
            };
            let width = kv_heads * head_dim;
            let (keys, cached_values) = (values(&keys), values(&cached_values));
            for (row, slot) in slots.iter().enumerate() {
                let place = *slot as usize * width..(*slot as usize + 1) * width;
                assert_close(&keys[place.clone()], &rotate(&key, kv_heads)[row * width..(row + 1) * width], tolerance);
                let value: Vec<f64> = value[row * width..(row + 1) * width].iter().map(|v| f64::from(*v)).collect();
                assert_close(&cached_values[place], &value, tolerance);
            }
            for slot in (0..16).filter(|slot| !slots.contains(slot)) {
                let place = slot as usize * width..(slot as usize + 1) * width;
                assert!(keys[place].iter().all(|value| *value == 0.0), "slot {slot} was not to be written");
            }
        }
    }
}

#[test]
fn block_copies_run_in_order_and_stop_at_their_slots() {
    let cache =
        Tensor::arange(0f32, 4.0 * 3.0 * 2.0, &Device::Cpu).and_then(|t| t.reshape((4, 3, 1, 2))).expect("a cache");
    let copies = [
        BlockCopy { src: 0, dst: 2, slots: 2 },
        BlockCopy { src: 2, dst: 3, slots: 3 },
        BlockCopy { src: 1, dst: 1, slots: 3 },
    ];
    block_copy(&cache, &copies).expect("blocks that exist");
    let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 16, 17, 0, 1, 2, 3, 16, 17];
    assert_eq!(values(&cache), expected.map(|value| value as f32));
    let wrong = |src, dst, slots| {
        block_copy(&cache, &[BlockCopy { src, dst, slots }]).map_or_else(|error| error.to_string(), |()| String::new())
    };
    assert!(wrong(4, 0, 1).contains("copies.src[0] is 4, must be at most 3"));
    assert!(wrong(0, 9, 1).contains("copies.dst[0] is 9"));
    assert!(wrong(0, 1, 4).contains("copies.slots[0] is 4, must be at most 3"));
}

#[test]
fn selected_rows_come_in_the_order_asked_for() {
    let rows = matrix(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2);
    assert_eq!(
        values(&select_rows(&rows, &Indices::from(&[2, 0, 2][..])).expect("rows that exist")),
        [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]
    );
    assert!(
        select_rows(&rows, &Indices::from(&[3][..]))
            .is_err_and(|error| error.to_string().contains("rows[0] is 3, must be below 3"))
    );
}
