//! What moves rows and blocks without computing: look-ups, token ids, copies, swaps and selections. All of it is exact.

use super::cases::{BlockCopyCase, CacheShape, EmbeddingCase, SwapCase, TokenCase, shuffled_blocks};
use super::{Backend, CheckReport, Errors, Random};
use crate::block_copy::BlockCopy;
use crate::launch::ElementType;
use crate::weight::WeightType;

pub(super) fn check_embedding(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    // A card may fuse the product with the sum that follows it, which rounds once less.
    let mut errors = Errors::new("embedding", 1e-6);
    for weight_type in WeightType::ALL {
        for (vocabulary, blocks) in [(13, 1), (5, 5)] {
            let width = blocks * 256;
            let (table, floats) = super::random_weight(random, weight_type, vocabulary, width)?;
            let ids = [vocabulary as u32 - 1, 0, 3, 3];
            let found =
                backend.embedding(&EmbeddingCase { table: &table, weight_type, vocabulary, width, ids: &ids })?;
            let row = |id: &u32| floats[*id as usize * width..][..width].iter().map(|value| f64::from(*value));
            let expected: Vec<f64> = ids.iter().flat_map(row).collect();
            errors.compare(&format!("{weight_type:?}, {vocabulary} rows of {width}"), &found, &expected)?;
        }
    }
    Ok(errors.report)
}

pub(super) fn check_resolve_tokens(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("resolve_tokens", 0.0);
    for count in [1usize, 2, 33, 300] {
        let vocabulary = 1000;
        let mut draw =
            |length: usize, limit: usize| -> Vec<u32> { (0..length).map(|_| random.below(limit) as u32).collect() };
        let mut drawn = draw(count, vocabulary);
        drawn[0] = u32::MAX;
        let draws = draw(count, count);
        let input_ids = draw(2 * count, vocabulary);
        let rows = shuffled_blocks(random, 2 * count)[..count].to_vec();
        let mut expected = input_ids.clone();
        for (&row, &draw) in rows.iter().zip(&draws) {
            let token = drawn[draw as usize];
            expected[row as usize] = if token == u32::MAX { 0 } else { token };
        }
        let found = backend.resolve_tokens(&TokenCase { input_ids, drawn, rows, draws, vocabulary })?;
        errors.same(&format!("{count} rows"), &found, &expected)?;
    }
    Ok(errors.report)
}

fn shapes() -> [CacheShape; 5] {
    let shape = |block_size, kv_heads, head_dim| CacheShape { num_blocks: 9, block_size, kv_heads, head_dim };
    [shape(3, 1, 2), shape(4, 1, 1), shape(5, 3, 7), shape(16, 2, 64), shape(32, 5, 130)]
}

pub(super) fn check_block_copy(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("block_copy", 0.0);
    for shape in shapes() {
        for cache_type in ElementType::ALL {
            for count in [1, 12] {
                let cache = cache_type.round(&random.vector(shape.numbers()));
                let mut block = || random.below(shape.num_blocks) as u32;
                let ends: Vec<_> = (0..count).map(|_| (block(), block())).collect();
                let copy = |(src, dst)| BlockCopy { src, dst, slots: random.below(shape.block_size + 1) as u32 };
                let copies: Vec<BlockCopy> = ends.into_iter().map(copy).collect();
                let mut expected = cache.clone();
                for copy in &copies {
                    let start = copy.src as usize * shape.block();
                    let end = start + copy.slots as usize * shape.slot();
                    expected.copy_within(start..end, copy.dst as usize * shape.block());
                }
                let found = backend.block_copy(&BlockCopyCase { cache: &cache, cache_type, shape, copies: &copies })?;
                errors.same(&format!("{shape:?}, {cache_type:?}, {copies:?}"), &found, &expected)?;
            }
        }
    }
    Ok(errors.report)
}

pub(super) fn check_block_swap(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("block_swap", 0.0);
    for shape in shapes() {
        for cache_type in ElementType::ALL {
            let from = cache_type.round(&random.vector(shape.numbers()));
            let to = cache_type.round(&random.vector(shape.numbers()));
            let gathered = &shuffled_blocks(random, shape.num_blocks)[..5];
            let scattered = &shuffled_blocks(random, shape.num_blocks)[..5];
            let mut expected = to.clone();
            for (&source, &destination) in gathered.iter().zip(scattered) {
                let block = &from[source as usize * shape.block()..][..shape.block()];
                expected[destination as usize * shape.block()..][..shape.block()].copy_from_slice(block);
            }
            let case = SwapCase { from: &from, to: &to, cache_type, shape, gathered, scattered };
            errors.same(&format!("{shape:?}, {cache_type:?}"), &backend.block_swap(&case)?, &expected)?;
        }
    }
    Ok(errors.report)
}

pub(super) fn check_select_rows(backend: &dyn Backend, random: &mut Random) -> Result<CheckReport, String> {
    let mut errors = Errors::new("select_rows", 0.0);
    for (count, columns) in [(1, 1), (3, 2), (7, 33), (5, 1024), (3, 5001)] {
        for element in [ElementType::F32, backend.activation()] {
            let matrix = element.round(&random.vector(count * columns));
            let rows: Vec<u32> = (0..count + 2).map(|_| random.below(count) as u32).collect();
            let row = |row: &u32| matrix[*row as usize * columns..][..columns].iter().copied();
            let expected: Vec<f32> = rows.iter().flat_map(row).collect();
            let found = backend.select_rows(&matrix, element, columns, &rows)?;
            errors.same(&format!("{columns} columns, {element:?}"), &found, &expected)?;
        }
    }
    Ok(errors.report)
}
