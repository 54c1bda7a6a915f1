//! Rotation and the write to the cache: every cache type, both orders of pairs, biases and norms before them, heads that are
//! rotated in part, odd heads, slots in no order, and positions so far out that an angle in single precision would be noise.

use super::cases::{BatchArrays, CacheShape, Member, NormCase, RopeCase, shuffled_blocks};
use super::{Backend, CheckReport, Errors, Random};
use crate::launch::ElementType;
use crate::reference;
use crate::rope::{QueryGrowth, RopeFrequencies, RopePairs};

const BLOCK_SIZE: usize = 4;

/// Query heads, key heads, length of a head, pairs that turn.
const SHAPES: &[(usize, usize, usize, usize)] =
    &[(1, 1, 2, 1), (6, 3, 10, 5), (6, 2, 10, 3), (8, 4, 8, 4), (4, 1, 64, 32), (3, 3, 7, 2), (32, 8, 128, 64)];

/// Heads of more lengths for each order of pairs, each with every step before the rotation: few heads, since there are many cases.
const PREPARED: &[(usize, usize, usize, usize)] =
    &[(1, 1, 2, 1), (3, 1, 10, 5), (2, 2, 13, 4), (2, 1, 96, 48), (5, 1, 256, 100)];

/// What is done to heads besides their rotation.
#[derive(Debug, Clone, Copy)]
struct Preparation {
    biases: bool,
    norms: bool,
    pairs: RopePairs,
    magnitude: f32,
    growth: Option<QueryGrowth>,
}

pub(super) fn check(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("rope_kv_write", backend.activation().tolerance(1e-6));
    let mut compare_all = |shapes: &[(usize, usize, usize, usize)], preparation| {
        for &(heads, kv_heads, head_dim, pairs) in shapes {
            for cache_type in ElementType::ALL {
                let shape = CacheShape { num_blocks: 400, block_size: BLOCK_SIZE, kv_heads, head_dim };
                compare(backend, random, &mut errors, (shape, cache_type), (heads, pairs), preparation)?;
            }
        }
        Ok::<_, String>(())
    };
    for pairs in [RopePairs::Neighbours, RopePairs::Halves] {
        let plain = Preparation { biases: false, norms: false, pairs, magnitude: 1.0, growth: None };
        compare_all(SHAPES, plain)?;
        // Positions reach 902: more than a hundred periods.
        let growth = Some(QueryGrowth { scale: 0.3, period: 7 });
        for (biases, norms, magnitude, growth) in [
            (true, false, 1.0, None),
            (false, true, 1.25, growth),
            (true, true, 0.75, None),
            (false, false, 1.0, growth),
        ] {
            compare_all(PREPARED, Preparation { biases, norms, pairs, magnitude, growth })?;
        }
    }
    far_positions(backend, &mut errors)?;
    Ok(errors.report)
}

fn compare(
    backend: &dyn Backend,
    random: &mut Random,
    errors: &mut Errors,
    (shape, cache_type): (CacheShape, ElementType),
    (heads, pairs): (usize, usize),
    preparation: Preparation,
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
    let per_pair = reference::rope_frequencies(2 * pairs, 500_000.0, 2.0, Some(&factors));
    let frequencies = RopeFrequencies::new(per_pair, preparation.pairs, preparation.magnitude)
        .and_then(|frequencies| frequencies.with_query_growth(preparation.growth))
        .map_err(|error| error.to_string())?;
    let widths = [heads * shape.head_dim, shape.slot(), shape.slot()];
    let projections = widths.map(|width| activation.round(&random.vector(rows * width)));
    let biases = widths.map(|width| random.vector(width));
    let norms = [(); 2].map(|()| random.vector(shape.head_dim));
    let epsilon = 1e-5;
    let [key_cache, value_cache] = [(); 2].map(|()| cache_type.round(&random.vector(shape.numbers())));
    let found = backend.rope_kv_write(&RopeCase {
        query: &projections[0],
        key: &projections[1],
        value: &projections[2],
        biases: preparation.biases.then(|| biases.each_ref().map(Vec::as_slice)),
        norms: preparation.norms.then(|| NormCase { query: &norms[0], key: &norms[1], epsilon }),
        heads,
        frequencies: &frequencies,
        batch: &batch,
        shape,
        cache_type,
        key_cache: &key_cache,
        value_cache: &value_cache,
    })?;
    let prepared = |which: usize| -> Vec<f64> {
        let bias =
            |column: usize| if preparation.biases { f64::from(biases[which][column % widths[which]]) } else { 0.0 };
        projections[which].iter().enumerate().map(|(index, value)| f64::from(*value) + bias(index)).collect()
    };
    let turned = |which: usize| -> Vec<f64> {
        let per_row = widths[which] / shape.head_dim;
        let head = |(index, head): (usize, &[f64])| {
            let normed =
                if preparation.norms { reference::head_norm(head, &norms[which], epsilon) } else { head.to_vec() };
            let position = batch.positions[index / per_row];
            let mut turned =
                reference::rope(&normed, position, frequencies.per_pair(), preparation.pairs, preparation.magnitude);
            if let Some(QueryGrowth { scale, period }) = preparation.growth.filter(|_| which == 0) {
                let factor = 1.0 + f64::from(scale) * (1.0 + f64::from(position / period)).ln();
                turned.iter_mut().for_each(|value| *value *= factor);
            }
            turned
        };
        prepared(which).chunks_exact(shape.head_dim).enumerate().flat_map(head).collect()
    };
    let case = format!("{heads}/{} heads of {}, {cache_type:?}, {preparation:?}", shape.kv_heads, shape.head_dim);
    errors.compare(&case, &found.query, &turned(0))?;
    for (name, found, before, expected) in
        [("keys", &found.key_cache, &key_cache, turned(1)), ("values", &found.value_cache, &value_cache, prepared(2))]
    {
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
    let frequencies = RopeFrequencies::new(per_pair, RopePairs::Neighbours, 1.0).map_err(|error| error.to_string())?;
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
            biases: None,
            norms: None,
            heads: 1,
            frequencies: &frequencies,
            batch: &batch,
            shape: cache,
            cache_type: ElementType::F32,
            key_cache: &empty,
            value_cache: &empty,
        })?;
        let exact: Vec<f64> = query.iter().map(|value| f64::from(*value)).collect();
        let expected = reference::rope(&exact, position as u32, frequencies.per_pair(), RopePairs::Neighbours, 1.0);
        errors.compare(&format!("position {position}"), &found.query, &expected)?;
    }
    Ok(())
}
