//! Rotation and the write to the cache: every cache type, heads that are rotated in part, odd heads, slots in no order, and
//! positions so far out that an angle in single precision would be noise.

use super::cases::{BatchArrays, CacheShape, Member, RopeCase, shuffled_blocks};
use super::{Backend, CheckReport, Errors, Random};
use crate::launch::ElementType;
use crate::reference;
use crate::rope::RopeFrequencies;

const BLOCK_SIZE: usize = 4;

pub(super) fn check(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("rope_kv_write", backend.activation().tolerance(1e-6));
    let shapes =
        [(1, 1, 2, 1), (6, 3, 10, 5), (6, 2, 10, 3), (8, 4, 8, 4), (4, 1, 64, 32), (3, 3, 7, 2), (32, 8, 128, 64)];
    for (heads, kv_heads, head_dim, pairs) in shapes {
        for cache_type in ElementType::ALL {
            let shape = CacheShape { num_blocks: 400, block_size: BLOCK_SIZE, kv_heads, head_dim };
            compare(backend, random, &mut errors, shape, cache_type, heads, pairs)?;
        }
    }
    far_positions(backend, &mut errors)?;
    Ok(errors.report)
}

fn compare(
    backend: &dyn Backend,
    random: &mut Random,
    errors: &mut Errors,
    shape: CacheShape,
    cache_type: ElementType,
    heads: usize,
    pairs: usize,
) -> Result<(), String> {
    let activation = backend.activation();
    let blocks = shuffled_blocks(random, shape.num_blocks);
    let members = [
        Member { rows: 3, keys: 3, blocks: blocks[..1].to_vec() },
        Member { rows: 2, keys: 902, blocks: blocks[1..227].to_vec() },
    ];
    let batch = BatchArrays::new(&members, shape.block_size);
    let rows = batch.positions.len();
    let factors: Vec<f32> = (0..pairs).map(|pair| 1.0 + pair as f32 / 4.0).collect();
    let frequencies =
        RopeFrequencies::new(2 * pairs, 500_000.0, 2.0, Some(&factors)).map_err(|error| error.to_string())?;
    let query = activation.round(&random.vector(rows * heads * shape.head_dim));
    let key = activation.round(&random.vector(rows * shape.slot()));
    let value = activation.round(&random.vector(rows * shape.slot()));
    let key_cache = cache_type.round(&random.vector(shape.numbers()));
    let value_cache = cache_type.round(&random.vector(shape.numbers()));
    let found = backend.rope_kv_write(&RopeCase {
        query: &query,
        key: &key,
        value: &value,
        heads,
        frequencies: &frequencies,
        batch: &batch,
        shape,
        cache_type,
        key_cache: &key_cache,
        value_cache: &value_cache,
    })?;
    let per_pair = reference::rope_frequencies(2 * pairs, 500_000.0, 2.0, Some(&factors));
    let rotate = |numbers: &[f32], heads: usize| -> Vec<f64> {
        let head = |(index, head): (usize, &[f32])| {
            let head: Vec<f64> = head.iter().map(|value| f64::from(*value)).collect();
            reference::rope(&head, batch.positions[index / heads], &per_pair)
        };
        numbers.chunks_exact(shape.head_dim).enumerate().flat_map(head).collect()
    };
    let case = format!("{heads}/{} heads of {}, {cache_type:?}", shape.kv_heads, shape.head_dim);
    errors.compare(&case, &found.query, &rotate(&query, heads))?;
    let value: Vec<f64> = value.iter().map(|value| f64::from(*value)).collect();
    for (name, found, before, expected) in [
        ("keys", &found.key_cache, &key_cache, rotate(&key, shape.kv_heads)),
        ("values", &found.value_cache, &value_cache, value),
    ] {
        compare_cache(errors, &format!("{case}, {name}"), cache_type, (found, before), &batch, &expected)?;
    }
    Ok(())
}

/// What was written is what was expected; everything else is as before, to the bit.
fn compare_cache(
    errors: &mut Errors,
    case: &str,
    cache_type: ElementType,
    (found, before): (&[f32], &[f32]),
    batch: &BatchArrays,
    expected: &[f64],
) -> Result<(), String> {
    let slot_numbers = expected.len() / batch.slot_mapping.len();
    let mut rest = found.to_vec();
    for (&slot, expected) in batch.slot_mapping.iter().zip(expected.chunks_exact(slot_numbers)) {
        let place = slot as usize * slot_numbers..(slot as usize + 1) * slot_numbers;
        errors.compare_within(case, &found[place.clone()], expected, cache_type.tolerance(1e-6))?;
        rest[place.clone()].copy_from_slice(&before[place]);
    }
    if rest == before { Ok(()) } else { Err(format!("rope_kv_write, {case}: a slot was written that is no row's")) }
}

/// Queries of (1, 0) turn into cosine and sine themselves.
fn far_positions(backend: &dyn Backend, errors: &mut Errors) -> Result<(), String> {
    let shape = CacheShape { num_blocks: 1, block_size: 1_000_000, kv_heads: 1, head_dim: 128 };
    let per_pair = reference::rope_frequencies(128, 10_000.0, 1.0, None);
    let frequencies = RopeFrequencies::new(128, 10_000.0, 1.0, None).map_err(|error| error.to_string())?;
    for position in [131_071usize, 999_999] {
        let mut batch = BatchArrays::new(&[Member { rows: 1, keys: position + 1, blocks: vec![0] }], shape.block_size);
        // The row goes to a small cache all the same.
        let cache = CacheShape { num_blocks: position.div_ceil(1000) + 1, block_size: 1, ..shape };
        batch.slot_mapping = vec![0];
        batch.block_tables = vec![0; position + 1];
        batch.cu_blocks = vec![0, position as u32 + 1];
        let query: Vec<f32> = (0..128).map(|index| if index % 2 == 0 { 1.0 } else { 0.0 }).collect();
        let empty = vec![0.0; cache.numbers()];
        let found = backend.rope_kv_write(&RopeCase {
            query: &query,
            key: &query,
            value: &query,
            heads: 1,
            frequencies: &frequencies,
            batch: &batch,
            shape: cache,
            cache_type: ElementType::F32,
            key_cache: &empty,
            value_cache: &empty,
        })?;
        let exact: Vec<f64> = query.iter().map(|value| f64::from(*value)).collect();
        let expected = reference::rope(&exact, position as u32, &per_pair);
        errors.compare(&format!("position {position}"), &found.query, &expected)?;
    }
    Ok(())
}
