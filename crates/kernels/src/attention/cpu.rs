//! Paged attention on the CPU. One work item is a tile of rows of one sequence and one key head; it walks the keys in tiles of
//! absolute positions, which it converts to F32 once for all its rows and query heads.

use std::ops::Range;

use crate::batch::{PagedBatch, PagedSequence};
use crate::math::multiply_add;
use crate::parallel::{DisjointSlice, for_ranges};
use crate::simd::{Element, F32x8, WIDTH};

/// Positions of one tile of keys. Part of the arithmetic: changing it changes the last bits of every result.
const KEY_TILE: usize = 32;

/// Vectors that hold one number for each key of a tile.
const TILE_VECTORS: usize = KEY_TILE / WIDTH;

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

/// Rows `first_row..first_row + rows` of one sequence. The first of them is at position `first_keys - 1`.
struct RowTile<'a> {
    sequence: &'a PagedSequence,
    first_row: usize,
    rows: usize,
    first_keys: usize,
    /// Most keys that a row sees.
    window: usize,
}

impl RowTile<'_> {
    /// The positions that a row of the tile sees.
    fn visible(&self, row: usize) -> Range<usize> {
        let end = self.first_keys + row;
        end.saturating_sub(self.window)..end
    }

    /// The positions that any row of the tile sees.
    fn all_visible(&self) -> Range<usize> {
        self.visible(0).start..self.visible(self.rows - 1).end
    }

    /// About how many keys are computed with.
    fn work(&self) -> usize {
        self.rows * self.all_visible().len()
    }
}

/// Attention of all rows, each over at most `window` keys; `queries` is `[rows, kv_heads * group * head_dim]` and so is the result.
pub(super) fn attend<T: Element>(
    queries: &[f32],
    keys: &[T],
    values: &[T],
    batch: &PagedBatch,
    heads: Heads,
    window: Option<usize>,
) -> Vec<f32> {
    let mut output = vec![0f32; queries.len()];
    let shared = DisjointSlice::new(&mut output);
    let tiles = row_tiles(batch, window.unwrap_or(usize::MAX));
    let work: usize = tiles.iter().map(RowTile::work).sum();
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
fn row_tiles(batch: &PagedBatch, window: usize) -> Vec<RowTile<'_>> {
    let mut tiles = Vec::new();
    for sequence in &batch.sequences {
        for start in (0..sequence.rows).step_by(ROW_TILE) {
            tiles.push(RowTile {
                sequence,
                first_row: sequence.first_row + start,
                rows: ROW_TILE.min(sequence.rows - start),
                first_keys: sequence.keys - sequence.rows + 1 + start,
                window,
            });
        }
    }
    tiles.sort_by_key(|tile| std::cmp::Reverse(tile.work()));
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

impl<T> CacheView<'_, T> {
    /// Where the head's elements begin at `KEY_TILE` absolute positions from `first` on, a multiple of the tile. Positions
    /// from `first + count` on, which may have no block yet, repeat the last one.
    fn starts(&self, first: usize, count: usize) -> [usize; KEY_TILE] {
        let block_size = self.batch.block_size;
        let (mut block, mut offset) = (first / block_size, first % block_size);
        let mut starts = [0; KEY_TILE];
        for (index, start) in starts.iter_mut().enumerate() {
            let slot = self.table[block] as usize * block_size + offset;
            *start = (slot * self.heads.kv_heads + self.kv_head) * self.heads.head_dim;
            if index + 1 < count {
                offset += 1;
                if offset == block_size {
                    (block, offset) = (block + 1, 0);
                }
            }
        }
        starts
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
            keys: vec![0.0; heads.head_dim * KEY_TILE],
            values: vec![0.0; heads.head_dim * KEY_TILE],
        }
    }

    fn attend_tile<T: Element>(&mut self, queries: &[f32], tile: &RowTile<'_>, cache: &CacheView<'_, T>) {
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
        let all = tile.all_visible();
        // Tiles are of absolute positions, so that a row's sums do not depend on where its window begins within one.
        for first_key in (all.start / KEY_TILE * KEY_TILE..all.end).step_by(KEY_TILE) {
            self.load(cache, first_key, KEY_TILE.min(all.end - first_key));
            let visible = |lane: usize| {
                let Range { start, end } = tile.visible(lane / group);
                start.saturating_sub(first_key).min(KEY_TILE)..end.saturating_sub(first_key).min(KEY_TILE)
            };
            // Lanes go in pairs, so that a load of keys serves two.
            for lane in (0..lanes).step_by(2) {
                if lane + 1 < lanes {
                    let [scores, next_scores] = self.scores([lane, lane + 1]);
                    self.step(lane, visible(lane), scores);
                    self.step(lane + 1, visible(lane + 1), next_scores);
                } else {
                    let [scores] = self.scores([lane]);
                    self.step(lane, visible(lane), scores);
                }
            }
        }
    }

    /// Converts `count` keys and values from position `first` on; keys behind them get numbers that are never used.
    fn load<T: Element>(&mut self, cache: &CacheView<'_, T>, first: usize, count: usize) {
        let head_dim = self.heads.head_dim;
        let starts = cache.starts(first, count);
        let whole = head_dim / WIDTH * WIDTH;
        for (octet, starts) in starts.as_chunks::<WIDTH>().0.iter().enumerate().take(count.div_ceil(WIDTH)) {
            let keys = starts.map(|start| &cache.keys[start..start + head_dim]);
            for dim in (0..whole).step_by(WIDTH) {
                let rows = keys.map(|key| T::load(key[dim..].first_chunk().expect("whole vectors were counted")));
                for (column, keys) in F32x8::transpose(rows).into_iter().enumerate() {
                    let place = (dim + column) * KEY_TILE + octet * WIDTH;
                    keys.store(self.keys[place..].first_chunk_mut().expect("a column has room for a tile"));
                }
            }
            for dim in whole..head_dim {
                for (offset, key) in keys.iter().enumerate() {
                    self.keys[dim * KEY_TILE + octet * WIDTH + offset] = key[dim].widen();
                }
            }
        }
        for (start, place) in starts.into_iter().zip(self.values.chunks_exact_mut(head_dim)).take(count) {
            let (vectors, rest) = cache.values[start..start + head_dim].as_chunks::<WIDTH>();
            let (places, rest_places) = place.as_chunks_mut::<WIDTH>();
            for (place, vector) in places.iter_mut().zip(vectors) {
                T::load(vector).store(place);
            }
            for (place, value) in rest_places.iter_mut().zip(rest) {
                *place = value.widen();
            }
        }
    }

    /// The products of some lanes' queries with every key of the tile, summed over the head in order.
    #[inline(always)]
    fn scores<const LANES: usize>(&self, lanes: [usize; LANES]) -> [[F32x8; TILE_VECTORS]; LANES] {
        let head_dim = self.heads.head_dim;
        let queries = lanes.map(|lane| &self.queries[lane * head_dim..(lane + 1) * head_dim]);
        let mut scores = [[F32x8::splat(0.0); TILE_VECTORS]; LANES];
        for (dim, column) in self.keys.as_chunks::<KEY_TILE>().0.iter().enumerate() {
            let (vectors, _) = column.as_chunks::<WIDTH>();
            let keys: [F32x8; TILE_VECTORS] = std::array::from_fn(|index| F32x8::load(&vectors[index]));
            for (scores, query) in scores.iter_mut().zip(queries) {
                let query = F32x8::splat(query[dim]);
                for (score, key) in scores.iter_mut().zip(keys) {
                    *score = query.mul_add(key, *score);
                }
            }
        }
        scores
    }

    /// Takes the visible keys of the loaded tile into one lane: an online softmax step (Milakov and Gimelshein, 2018). Without
    /// any the lane stays as it is, to the bit.
    fn step(&mut self, lane: usize, visible: Range<usize>, scores: [F32x8; TILE_VECTORS]) {
        if visible.is_empty() {
            return;
        }
        let hidden = hide(scores, &visible, f32::NEG_INFINITY);
        let highest = hidden.into_iter().fold(F32x8::splat(self.maxima[lane]), |highest, score| score.max(highest));
        let highest = highest.max_element();
        let weights = hidden.map(|score| score.sub(F32x8::splat(highest)).exp());
        let weights = hide(weights, &visible, 0.0);
        let [a, b, c, d] = weights;
        let sum = a.add(c).add(b.add(d)).sum();
        let shrink = F32x8::splat(self.maxima[lane] - highest).exp().max_element();
        self.maxima[lane] = highest;
        self.weights[lane] = multiply_add(self.weights[lane], shrink, sum);
        let mut shares = [[0f32; WIDTH]; TILE_VECTORS];
        for (share, weight) in shares.iter_mut().zip(weights) {
            weight.store(share);
        }
        let head_dim = self.heads.head_dim;
        let sums = &mut self.sums[lane * head_dim..(lane + 1) * head_dim];
        let values = &self.values[visible.start * head_dim..];
        add_values(sums, shrink, &shares.as_flattened()[visible], values);
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

/// The numbers of a tile with `filler` before and behind the visible ones.
#[inline(always)]
fn hide(numbers: [F32x8; TILE_VECTORS], visible: &Range<usize>, filler: f32) -> [F32x8; TILE_VECTORS] {
    if visible.len() == KEY_TILE {
        return numbers;
    }
    let mut flat = [[0f32; WIDTH]; TILE_VECTORS];
    for (place, numbers) in flat.iter_mut().zip(numbers) {
        numbers.store(place);
    }
    flat.as_flattened_mut()[..visible.start].fill(filler);
    flat.as_flattened_mut()[visible.end..].fill(filler);
    flat.map(|numbers| F32x8::load(&numbers))
}

/// `sums = sums * shrink + shares × values`, the values in order of position.
fn add_values(sums: &mut [f32], shrink: f32, shares: &[f32], values: &[f32]) {
    let head_dim = sums.len();
    let mut start = 0;
    while start + 8 * WIDTH <= head_dim {
        add_columns::<8>(&mut sums[start..], shrink, shares, &values[start..], head_dim);
        start += 8 * WIDTH;
    }
    while start + WIDTH <= head_dim {
        add_columns::<1>(&mut sums[start..], shrink, shares, &values[start..], head_dim);
        start += WIDTH;
    }
    for index in start..head_dim {
        let mut sum = sums[index] * shrink;
        for (key, share) in shares.iter().enumerate() {
            sum = multiply_add(*share, values[key * head_dim + index], sum);
        }
        sums[index] = sum;
    }
}

/// [`add_values`] for the first `VECTORS` vectors of a row: they stay in registers while the values pass.
#[inline(always)]
fn add_columns<const VECTORS: usize>(sums: &mut [f32], shrink: f32, shares: &[f32], values: &[f32], stride: usize) {
    let (places, _) = sums.as_chunks_mut::<WIDTH>();
    let places: &mut [[f32; WIDTH]; VECTORS] = places.first_chunk_mut().expect("the caller counted");
    let shrink = F32x8::splat(shrink);
    let mut parts: [F32x8; VECTORS] = std::array::from_fn(|index| F32x8::load(&places[index]).mul(shrink));
    for (key, share) in shares.iter().enumerate() {
        let (row, _) = values[key * stride..].as_chunks::<WIDTH>();
        let row: &[[f32; WIDTH]; VECTORS] = row.first_chunk().expect("a row of values is as long as one of sums");
        let share = F32x8::splat(*share);
        for (part, value) in parts.iter_mut().zip(row) {
            *part = share.mul_add(F32x8::load(value), *part);
        }
    }
    for (place, part) in places.iter_mut().zip(parts) {
        part.store(place);
    }
}
