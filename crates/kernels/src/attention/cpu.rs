//! Paged attention on the CPU. One work item is a tile of rows of one sequence and one key head; it walks the keys in tiles of
//! absolute positions, which it converts to F32 once for all its rows and query heads.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::batch::{PagedBatch, PagedSequence};
use crate::math::{LANES, exp, multiply_add, sum_lanes};
use crate::parallel::{DisjointSlice, for_ranges};

/// Positions of one tile of keys. Part of the arithmetic: changing it changes the last bits of every result.
const KEY_TILE: usize = 32;

/// Rows of one work item. Not part of the arithmetic.
const ROW_TILE: usize = 16;

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

/// An element type of the cache.
pub(super) trait CacheElement: Sync + Sized {
    fn widen(row: &[Self], place: &mut [f32]);
}

impl CacheElement for f32 {
    fn widen(row: &[Self], place: &mut [f32]) {
        place.copy_from_slice(row);
    }
}

impl CacheElement for f16 {
    fn widen(row: &[Self], place: &mut [f32]) {
        row.convert_to_f32_slice(place);
    }
}

impl CacheElement for bf16 {
    fn widen(row: &[Self], place: &mut [f32]) {
        row.convert_to_f32_slice(place);
    }
}

/// Rows `first_row..first_row + rows` of one sequence; the first of them sees `first_keys` keys.
struct RowTile<'a> {
    sequence: &'a PagedSequence,
    first_row: usize,
    rows: usize,
    first_keys: usize,
}

/// Attention of all rows; `queries` is `[rows, kv_heads * group * head_dim]` and so is the result.
pub(super) fn attend<T: CacheElement>(
    queries: &[f32],
    keys: &[T],
    values: &[T],
    batch: &PagedBatch,
    heads: Heads,
) -> Vec<f32> {
    let mut output = vec![0f32; queries.len()];
    let shared = DisjointSlice::new(&mut output);
    let tiles = row_tiles(batch);
    let work: usize = tiles.iter().map(|tile| tile.rows * tile.first_keys).sum();
    let width = heads.kv_heads * heads.group * heads.head_dim;
    for_ranges(tiles.len() * heads.kv_heads, work.saturating_mul(2 * width), |range| {
        let mut scratch = Scratch::new(heads);
        for item in range {
            let tile = &tiles[item / heads.kv_heads];
            let kv_head = item % heads.kv_heads;
            let cache = CacheView {
                keys,
                values,
                table: &batch.block_tables[tile.sequence.blocks.clone()],
                batch,
                heads,
                kv_head,
            };
            scratch.attend_tile(queries, tile, &cache);
            for row in 0..tile.rows {
                let start = (tile.first_row + row) * width + kv_head * heads.group * heads.head_dim;
                // SAFETY: each pair of row and key head belongs to one item only, and an item to one thread.
                #[allow(unsafe_code)]
                let place = unsafe { shared.range_mut(start, heads.group * heads.head_dim) };
                scratch.finish_row(row, place);
            }
        }
    });
    output
}

/// Cuts the sequences into tiles of rows, those with the most keys first so that no thread starts a long one last.
fn row_tiles(batch: &PagedBatch) -> Vec<RowTile<'_>> {
    let mut tiles = Vec::new();
    for sequence in &batch.sequences {
        for start in (0..sequence.rows).step_by(ROW_TILE) {
            tiles.push(RowTile {
                sequence,
                first_row: sequence.first_row + start,
                rows: ROW_TILE.min(sequence.rows - start),
                first_keys: sequence.keys - sequence.rows + 1 + start,
            });
        }
    }
    tiles.sort_by_key(|tile| std::cmp::Reverse(tile.rows * tile.first_keys));
    tiles
}

/// The keys and values of one sequence and head.
struct CacheView<'a, T> {
    keys: &'a [T],
    values: &'a [T],
    table: &'a [u32],
    batch: &'a PagedBatch,
    heads: Heads,
    kv_head: usize,
}

impl<T: CacheElement> CacheView<'_, T> {
    /// Element range of the head at an absolute position.
    fn place(&self, position: usize) -> std::ops::Range<usize> {
        let block_size = self.batch.block_size;
        let slot = self.table[position / block_size] as usize * block_size + position % block_size;
        let start = (slot * self.heads.kv_heads + self.kv_head) * self.heads.head_dim;
        start..start + self.heads.head_dim
    }
}

/// Buffers of one thread, reused from item to item. A lane is one row and one query head: `row * group + head`.
struct Scratch {
    heads: Heads,
    /// Scaled queries `[lanes, head_dim]`.
    queries: Vec<f32>,
    /// Weighted sums of values `[lanes, head_dim]`.
    sums: Vec<f32>,
    /// The largest score of each lane so far.
    maxima: Vec<f32>,
    /// The sum of exponentials of each lane so far.
    weights: Vec<f32>,
    /// One head's key, before it is transposed.
    row: Vec<f32>,
    /// A tile of keys, transposed: `[head_dim, KEY_TILE]`, so that the scores of a tile are one vector.
    keys: Vec<f32>,
    /// A tile of values `[KEY_TILE, head_dim]`.
    values: Vec<f32>,
}

impl Scratch {
    fn new(heads: Heads) -> Self {
        let lanes = ROW_TILE * heads.group;
        Self {
            heads,
            queries: vec![0.0; lanes * heads.head_dim],
            sums: vec![0.0; lanes * heads.head_dim],
            maxima: vec![0.0; lanes],
            weights: vec![0.0; lanes],
            row: vec![0.0; heads.head_dim],
            keys: vec![0.0; heads.head_dim * KEY_TILE],
            values: vec![0.0; heads.head_dim * KEY_TILE],
        }
    }

    fn attend_tile<T: CacheElement>(&mut self, queries: &[f32], tile: &RowTile<'_>, cache: &CacheView<'_, T>) {
        let Heads { kv_heads, group, head_dim } = self.heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        for row in 0..tile.rows {
            let start = ((tile.first_row + row) * kv_heads + cache.kv_head) * group * head_dim;
            let places = &mut self.queries[row * group * head_dim..(row + 1) * group * head_dim];
            for (place, query) in places.iter_mut().zip(&queries[start..start + group * head_dim]) {
                *place = query * scale;
            }
        }
        let lanes = tile.rows * group;
        self.sums[..lanes * head_dim].fill(0.0);
        self.maxima[..lanes].fill(f32::NEG_INFINITY);
        self.weights[..lanes].fill(0.0);
        let all_keys = tile.first_keys + tile.rows - 1;
        for first_key in (0..all_keys).step_by(KEY_TILE) {
            self.load(cache, first_key, KEY_TILE.min(all_keys - first_key));
            for lane in 0..lanes {
                let visible = (tile.first_keys + lane / group).saturating_sub(first_key).min(KEY_TILE);
                if visible > 0 {
                    self.step(lane, visible);
                }
            }
        }
    }

    /// Converts `count` keys and values from position `first` on; keys behind them keep old numbers, which are never used.
    fn load<T: CacheElement>(&mut self, cache: &CacheView<'_, T>, first: usize, count: usize) {
        let head_dim = self.heads.head_dim;
        for offset in 0..count {
            let place = cache.place(first + offset);
            T::widen(&cache.keys[place.clone()], &mut self.row);
            for (column, value) in self.keys.chunks_exact_mut(KEY_TILE).zip(&self.row) {
                column[offset] = *value;
            }
            T::widen(&cache.values[place], &mut self.values[offset * head_dim..(offset + 1) * head_dim]);
        }
    }

    /// Takes the first `visible` keys of the loaded tile into one lane: an online softmax step (Milakov and Gimelshein, 2018).
    fn step(&mut self, lane: usize, visible: usize) {
        let head_dim = self.heads.head_dim;
        let query = &self.queries[lane * head_dim..(lane + 1) * head_dim];
        let mut scores = [0f32; KEY_TILE];
        for (column, query) in self.keys.chunks_exact(KEY_TILE).zip(query) {
            for (score, key) in scores.iter_mut().zip(column) {
                *score = multiply_add(*query, *key, *score);
            }
        }
        scores[visible..].fill(f32::NEG_INFINITY);
        let highest =
            scores.iter().fold(self.maxima[lane], |highest, score| if *score > highest { *score } else { highest });
        let mut folded = [0f32; LANES];
        for (index, score) in scores.iter_mut().enumerate() {
            *score = exp(*score - highest);
            folded[index % LANES] += if index < visible { *score } else { 0.0 };
        }
        let shrink = exp(self.maxima[lane] - highest);
        self.maxima[lane] = highest;
        self.weights[lane] = multiply_add(self.weights[lane], shrink, sum_lanes(folded));
        add_values(&mut self.sums[lane * head_dim..(lane + 1) * head_dim], shrink, &scores[..visible], &self.values);
    }

    fn finish_row(&self, row: usize, place: &mut [f32]) {
        let Heads { group, head_dim, .. } = self.heads;
        for (head, place) in place.chunks_exact_mut(head_dim).enumerate() {
            let lane = row * group + head;
            let inverse = 1.0 / self.weights[lane];
            for (place, sum) in place.iter_mut().zip(&self.sums[lane * head_dim..(lane + 1) * head_dim]) {
                *place = sum * inverse;
            }
        }
    }
}

/// `sums = sums * shrink + scores × values`, the values in order of position. Registers hold a part of the sums while the values pass.
fn add_values(sums: &mut [f32], shrink: f32, scores: &[f32], values: &[f32]) {
    let head_dim = sums.len();
    let mut start = 0;
    while start + LANES <= head_dim {
        let mut part = [0f32; LANES];
        for (part, sum) in part.iter_mut().zip(&sums[start..start + LANES]) {
            *part = sum * shrink;
        }
        for (key, score) in scores.iter().enumerate() {
            let value = &values[key * head_dim + start..key * head_dim + start + LANES];
            for (part, value) in part.iter_mut().zip(value) {
                *part = multiply_add(*score, *value, *part);
            }
        }
        sums[start..start + LANES].copy_from_slice(&part);
        start += LANES;
    }
    for index in start..head_dim {
        let mut sum = sums[index] * shrink;
        for (key, score) in scores.iter().enumerate() {
            sum = multiply_add(*score, values[key * head_dim + index], sum);
        }
        sums[index] = sum;
    }
}
