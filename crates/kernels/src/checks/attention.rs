//! Paged attention of mixed sequences: lone rows and chunks, heads of many lengths and groups of many sizes, blocks in no
//! order, every cache type, with windows and without. What no row sees is NaN: the slots behind a sequence's last key and
//! before its first row's window, and blocks of nobody.

use super::cases::{AttentionCase, BatchArrays, CacheShape, Member, shuffled_blocks, slot_of};
use super::{Backend, CheckReport, Errors, Random};
use crate::launch::ElementType;
use crate::reference;

/// Key heads, query heads for each, length of a head, slots of a block.
const SHAPES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 2, 1),
    (3, 2, 10, 5),
    (2, 4, 8, 8),
    (1, 8, 32, 16),
    (4, 1, 17, 32),
    (2, 3, 64, 7),
    (1, 5, 80, 16),
    (2, 1, 96, 16),
    (1, 4, 128, 32),
    (1, 2, 256, 16),
    (1, 9, 64, 16),
    (1, 71, 16, 16),
];

/// Rows of a sequence and keys of its last row.
const MEMBERS: &[(usize, usize)] = &[(1, 1), (1, 97), (35, 35), (18, 131), (2, 33), (1, 300), (1, 32)];

/// Keys that a row sees at most: itself alone, parts of a tile, whole ones, several, and more than there are.
const WINDOWS: &[usize] = &[1, 5, 31, 32, 33, 48, 64, 100, 129, 500];

pub(super) fn check(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("paged_attention", backend.activation().tolerance(3e-6));
    for (index, &(kv_heads, group, head_dim, block_size)) in SHAPES.iter().enumerate() {
        let needed: usize = MEMBERS.iter().map(|(_, keys)| keys.div_ceil(block_size)).sum();
        let shape = CacheShape { num_blocks: needed + 3, block_size, kv_heads, head_dim };
        for cache_type in ElementType::ALL {
            compare(backend, random, &mut errors, (shape, cache_type), group, None, MEMBERS)?;
        }
        // Lone rows only, and none.
        compare(backend, random, &mut errors, (shape, ElementType::F16), group, None, &[(1, 65)])?;
        compare(backend, random, &mut errors, (shape, ElementType::F16), group, None, &[(33, 70)])?;
        let window = Some(WINDOWS[index % WINDOWS.len()]);
        let cache_type = ElementType::ALL[index % ElementType::ALL.len()];
        compare(backend, random, &mut errors, (shape, cache_type), group, window, MEMBERS)?;
    }
    // Every window, with rows that cross it and more keys than the splits have tiles.
    for &window in WINDOWS {
        let shape = CacheShape { num_blocks: 140, block_size: 16, kv_heads: 1, head_dim: 8 };
        let lengths = [(70, 70), (1, 1100), (1, window), (2, window + 1)];
        compare(backend, random, &mut errors, (shape, ElementType::F32), 2, Some(window), &lengths)?;
    }
    Ok(errors.report)
}

fn compare(
    backend: &dyn Backend,
    random: &mut Random,
    errors: &mut Errors,
    (shape, cache_type): (CacheShape, ElementType),
    group: usize,
    window: Option<usize>,
    lengths: &[(usize, usize)],
) -> Result<(), String> {
    let mut blocks = shuffled_blocks(random, shape.num_blocks).into_iter();
    let member = |&(rows, keys): &(usize, usize)| Member {
        rows,
        keys,
        blocks: blocks.by_ref().take(keys.div_ceil(shape.block_size)).collect(),
    };
    let members: Vec<Member> = lengths.iter().map(member).collect();
    let batch = BatchArrays::new(&members, shape.block_size);
    let mut cache = || {
        let mut cache = vec![f32::NAN; shape.numbers()];
        for member in &members {
            for position in first_seen(member.keys - member.rows, window)..member.keys {
                let start = slot_of(member, position, shape.block_size) * shape.slot();
                cache[start..start + shape.slot()].copy_from_slice(&random.vector(shape.slot()));
            }
        }
        cache_type.round(&cache)
    };
    let (key_cache, value_cache) = (cache(), cache());
    let heads = shape.kv_heads * group;
    let queries = random.vector(batch.positions.len() * heads * shape.head_dim);
    let query = backend.activation().round(&queries.iter().map(|value| value * 4.0).collect::<Vec<_>>());
    let case = AttentionCase {
        query: &query,
        heads,
        window,
        batch: &batch,
        shape,
        cache_type,
        key_cache: &key_cache,
        value_cache: &value_cache,
    };
    let found = backend.paged_attention(&case)?;
    let name = format!("{shape:?}, {heads} heads, {cache_type:?}, window {window:?}, {lengths:?}");
    errors.compare(&name, &found, &expected(&case, &members))
}

/// The first position that a row sees.
fn first_seen(position: usize, window: Option<usize>) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window))
}

/// Each row and head by itself.
fn expected(case: &AttentionCase<'_>, members: &[Member]) -> Vec<f64> {
    let shape = case.shape;
    let group = case.heads / shape.kv_heads;
    let mut queries = case.query.chunks_exact(shape.head_dim);
    let mut output = Vec::new();
    for member in members {
        for last in member.keys - member.rows..member.keys {
            for head in 0..case.heads {
                let gather = |cache: &[f32]| -> Vec<f64> {
                    let place = |position: usize| {
                        let slot = slot_of(member, position, shape.block_size);
                        (slot * shape.kv_heads + head / group) * shape.head_dim
                    };
                    let key = |position| cache[place(position)..][..shape.head_dim].iter().map(|v| f64::from(*v));
                    (first_seen(last, case.window)..=last).flat_map(key).collect()
                };
                let query: Vec<f64> = queries.next().into_iter().flatten().map(|v| f64::from(*v)).collect();
                output.extend(reference::attention(&query, &gather(case.key_cache), &gather(case.value_cache)));
            }
        }
    }
    output
}
