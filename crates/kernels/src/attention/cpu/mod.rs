//! Paged attention on the CPU. One work item is a band of rows (`bands.rs`) and one key head; it walks the keys in tiles of
//! absolute positions, which it converts to F32 once for all its rows and query heads (`scratch.rs`).

mod bands;
mod scratch;

use std::cell::RefCell;

use crate::batch::PagedBatch;
use crate::cached::CacheElement;
use crate::parallel::{Unwritten, for_each, threads};
use crate::simd::COLUMN;
use bands::{Band, RowTile, bands};
use scratch::Scratch;

/// Positions of one tile of keys. Part of the arithmetic: changing it changes the last bits of every result.
const KEY_TILE: usize = 32;

// Whose keys become columns at once.
const _: () = assert!(KEY_TILE == COLUMN);

/// How heads are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    /// Heads of keys and values.
    pub(super) kv_heads: usize,
    /// Query heads that share a key head.
    pub(super) group: usize,
    /// Length of one head.
    pub(super) head_dim: usize,
}

impl Heads {
    /// Numbers of a row.
    fn width(self) -> usize {
        self.kv_heads * self.group * self.head_dim
    }
}

/// Attention of all rows, each over at most `window` keys; `queries` is `[rows, kv_heads * group * head_dim]` and so is the result.
pub(super) fn attend<T: CacheElement>(
    queries: &[f32],
    keys: &[T],
    values: &[T],
    batch: &PagedBatch,
    heads: Heads,
    window: Option<usize>,
) -> Vec<f32> {
    let bands = bands(batch, window.unwrap_or(usize::MAX), heads.kv_heads, threads());
    attend_bands(queries, [keys, values], batch, heads, &bands)
}

fn attend_bands<T: CacheElement>(
    queries: &[f32],
    [keys, values]: [&[T]; 2],
    batch: &PagedBatch,
    heads: Heads,
    bands: &[Band<'_>],
) -> Vec<f32> {
    assert_eq!(bands.iter().map(Band::rows).sum::<usize>() * heads.width(), queries.len(), "bands have all rows");
    let mut output = Unwritten::new(queries.len());
    let shared = output.places();
    let work: usize = bands.iter().map(Band::work).sum();
    let rows = bands.iter().map(Band::rows).max().unwrap_or(0);
    let head_width = heads.group * heads.head_dim;
    let width = heads.width();
    let compute = |item: usize, scratch: &mut Scratch| {
        let (band, kv_head) = (&bands[item / heads.kv_heads], item % heads.kv_heads);
        let cache = CacheView { keys, values, batch, heads, kv_head };
        let all_rows = band.tiles.iter().flat_map(|tile| tile.first_row..tile.first_row + tile.rows);
        let places = all_rows.map(|row| row * width + kv_head * head_width);
        scratch.fit(heads, rows);
        scratch.begin(band, places.clone().map(|start| &queries[start..start + head_width]));
        attend_band(scratch, band, &cache);
        for (row, start) in places.enumerate() {
            // SAFETY: each pair of row and key head belongs to one item only, and an item to one thread.
            #[allow(unsafe_code)]
            let place = unsafe { shared.range_mut(start, head_width) };
            scratch.finish_row(row, place);
        }
    };
    for_each(bands.len() * heads.kv_heads, work.saturating_mul(2 * width), |item| {
        SCRATCH.with_borrow_mut(|scratch| compute(item, scratch));
    });
    // SAFETY: the bands have every row once, and the items every key head of each.
    #[allow(unsafe_code)]
    unsafe {
        output.written()
    }
}

thread_local! {
    /// Kept from step to step.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Takes in the keys that all rows of the band have in common, then those of each tile.
fn attend_band<T: CacheElement>(scratch: &mut Scratch, band: &Band<'_>, cache: &CacheView<'_, T>) {
    // Tiles are of absolute positions, so that a row's sums do not depend on where its window begins within one.
    let first = |tile: &RowTile<'_>| tile.all_visible().start / KEY_TILE * KEY_TILE;
    let begin = band.tiles.iter().map(first).min().unwrap_or(0);
    for position in (begin..band.common).step_by(KEY_TILE) {
        scratch.load(cache, &cache.starts(&band.tiles[0], position, KEY_TILE), KEY_TILE);
        scratch.take_in(position, 0..band.rows());
    }
    let mut row = 0;
    for tile in &band.tiles {
        let end = tile.all_visible().end;
        for position in (first(tile).max(band.common)..end).step_by(KEY_TILE) {
            let count = KEY_TILE.min(end - position);
            scratch.load(cache, &cache.starts(tile, position, count), count);
            scratch.take_in(position, row..row + tile.rows);
        }
        row += tile.rows;
    }
}

/// The keys and values of one head.
struct CacheView<'a, T> {
    keys: &'a [T],
    values: &'a [T],
    batch: &'a PagedBatch,
    heads: Heads,
    kv_head: usize,
}

impl<T: CacheElement> CacheView<'_, T> {
    /// Where the head's elements begin at `KEY_TILE` absolute positions of a sequence from `first` on, a multiple of the tile.
    /// Positions from `first + count` on, which may have no block yet, repeat the last one.
    fn starts(&self, tile: &RowTile<'_>, first: usize, count: usize) -> [usize; KEY_TILE] {
        let table = &self.batch.block_tables[tile.sequence.blocks.clone()];
        let (block_size, head) = (self.batch.block_size, T::elements(self.heads.head_dim));
        let slot = self.heads.kv_heads * head;
        let begin = |block: usize| table[block] as usize * block_size * slot + self.kv_head * head;
        let (mut block, mut offset) = (first / block_size, first % block_size);
        let mut next = begin(block) + offset * slot;
        let mut starts = [0; KEY_TILE];
        for (index, start) in starts.iter_mut().enumerate() {
            *start = next;
            if index + 1 < count {
                (offset, next) = (offset + 1, next + slot);
                if offset == block_size {
                    (block, offset) = (block + 1, 0);
                    next = begin(block);
                }
            }
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{BatchArrays, CacheShape, Member, Random};

    /// Sequences of some rows, over blocks of which the first are the same for all.
    fn batch(members: &[(usize, usize)], common: usize, block: usize) -> PagedBatch {
        let mut next = common as u32;
        let member = |&(rows, keys): &(usize, usize)| {
            let own = next..next + (keys.div_ceil(block) - common) as u32;
            next = own.end;
            Member { rows, keys, blocks: (0..common as u32).chain(own).collect() }
        };
        let members: Vec<Member> = members.iter().map(member).collect();
        let shape = CacheShape { num_blocks: next as usize, block_size: block, kv_heads: 1, head_dim: 1 };
        BatchArrays::new(&members, block).batch(shape).expect("a valid batch")
    }

    #[test]
    fn a_cache_of_bytes_gives_the_bits_of_the_numbers_that_it_holds() {
        let batch = batch(&[(1, 200), (3, 150)], 8, 16);
        let heads = Heads { kv_heads: 2, group: 3, head_dim: 96 };
        let mut random = Random(22);
        let slots = batch.num_blocks * batch.block_size * heads.kv_heads;
        let head = u8::elements(heads.head_dim);
        let stored: [(Vec<u8>, Vec<f32>); 2] = std::array::from_fn(|_| {
            let mut bytes = vec![0; slots * head];
            bytes.chunks_exact_mut(head).for_each(|place| u8::write(&random.vector(heads.head_dim), place));
            let numbers = bytes.chunks_exact(head).flat_map(|head| (0..96).map(|index| u8::number(head, index)));
            let numbers = numbers.collect();
            (bytes, numbers)
        });
        let queries = random.vector(batch.rows() * heads.kv_heads * heads.group * heads.head_dim);
        let [(keys, key_numbers), (values, value_numbers)] = &stored;
        let found = attend(&queries, keys, values, &batch, heads, None);
        let wanted = attend(&queries, key_numbers, value_numbers, &batch, heads, None);
        assert!(found.iter().zip(&wanted).all(|(found, wanted)| found.to_bits() == wanted.to_bits()));
        assert!(found.iter().any(|value| *value != 0.0));
    }

    #[test]
    fn rows_have_the_same_bits_alone_and_with_those_that_begin_alike() {
        // Rows that end within the common blocks, at their end, and behind it.
        let members = [(1, 200), (3, 150), (1, 129), (40, 170), (9, 135), (2, 300)];
        for (common, block) in [(8, 16), (25, 5), (5, 24)] {
            let batch = batch(&members, common, block);
            check_bands(&batch);
        }
    }

    fn check_bands(batch: &PagedBatch) {
        let mut random = Random(21);
        for (kv_heads, group, head_dim) in [(2, 8, 64), (1, 3, 20), (3, 1, 80), (1, 5, 128)] {
            let heads = Heads { kv_heads, group, head_dim };
            let cache: [Vec<f32>; 2] =
                std::array::from_fn(|_| random.vector(batch.num_blocks * batch.block_size * kv_heads * head_dim));
            let cache = cache.each_ref().map(Vec::as_slice);
            let queries = random.vector(batch.rows() * kv_heads * group * head_dim);
            for window in [usize::MAX, 140, 30] {
                let bits = |threads: usize| -> (usize, Vec<u32>) {
                    let bands = bands(batch, window, kv_heads, threads);
                    let output = attend_bands(&queries, cache, batch, heads, &bands);
                    (bands.len(), output.iter().map(|value| value.to_bits()).collect())
                };
                let ((together, found), (apart, wanted)) = (bits(1), bits(1000));
                assert!(together < apart, "nothing was computed together");
                assert!(found == wanted, "{heads:?}, window {window}");
                assert!(found.iter().all(|bits| f32::from_bits(*bits).is_finite()));
            }
        }
    }
}
