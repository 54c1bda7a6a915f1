//! What a thread works on: the rows of a band, one key head, and the tile of keys that is taken in.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::bands::Band;
use super::{CacheView, Heads, KEY_TILE};
use crate::aligned::AlignedFloats;
use crate::cached::CacheElement;
use crate::math::multiply_add;
use crate::simd::{F32x8, F32x16, WIDE, WIDTH};

/// Wide vectors that hold one number for each key of a tile.
const TILE_VECTORS: usize = KEY_TILE / WIDE;

/// Lanes that share each load of keys and values, and wide vectors of a head's columns that are summed at a time: as many as the
/// registers hold. Not part of the arithmetic.
const LANES: usize = if cfg!(all(target_arch = "x86_64", target_feature = "avx512f")) { 4 } else { 2 };
const COLUMNS: usize = LANES;

/// Buffers, used again for each item. A *lane* is one row and one query head: `row * group + head`. Behind the last there are as many
/// as fill [`LANES`], which see nothing.
pub(super) struct Scratch {
    heads: Heads,
    /// Of each row, the positions that it sees.
    visible: Vec<Range<usize>>,
    /// Scaled queries `[lanes / LANES, head_dim, LANES]`.
    queries: AlignedFloats,
    /// Weighted sums of values `[lanes, head_dim]`.
    sums: AlignedFloats,
    /// The largest score of each lane so far.
    maxima: Vec<f32>,
    /// The sum of exponentials of each lane so far.
    weights: Vec<f32>,
    /// A tile of keys, transposed: `[head_dim, KEY_TILE]`, so that the scores of a tile are a few vectors.
    keys: AlignedFloats,
    /// A tile of values `[KEY_TILE, head_dim]`.
    values: AlignedFloats,
}

impl Scratch {
    /// Without room.
    pub(super) fn new() -> Self {
        let none = || AlignedFloats::new(0);
        Self {
            heads: Heads { kv_heads: 0, group: 0, head_dim: 0 },
            visible: Vec::new(),
            queries: none(),
            sums: none(),
            maxima: Vec::new(),
            weights: Vec::new(),
            keys: none(),
            values: none(),
        }
    }

    /// Makes room for bands of at most so many rows, where there is less.
    pub(super) fn fit(&mut self, heads: Heads, rows: usize) {
        let lanes = (rows * heads.group).next_multiple_of(LANES);
        let fit = |floats: &mut AlignedFloats, count: usize| {
            if floats.len() < count {
                *floats = AlignedFloats::new(count);
            }
        };
        self.heads = heads;
        fit(&mut self.queries, lanes * heads.head_dim);
        fit(&mut self.sums, lanes * heads.head_dim);
        fit(&mut self.keys, heads.head_dim * KEY_TILE);
        fit(&mut self.values, heads.head_dim * KEY_TILE);
        for per_lane in [&mut self.maxima, &mut self.weights] {
            per_lane.resize(lanes.max(per_lane.len()), 0.0);
        }
    }

    /// Begins with the rows of a band, of each of which there are the heads' queries.
    pub(super) fn begin<'a>(&mut self, band: &Band<'_>, queries: impl Iterator<Item = &'a [f32]>) {
        let Heads { group, head_dim, .. } = self.heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        self.visible.clear();
        self.visible.extend(band.tiles.iter().flat_map(|tile| (0..tile.rows).map(|row| tile.visible(row))));
        for (lane, query) in queries.flat_map(|row| row.chunks_exact(head_dim)).enumerate() {
            let places = self.queries[lane / LANES * LANES * head_dim..].as_chunks_mut::<LANES>().0;
            for (place, number) in places.iter_mut().zip(query) {
                place[lane % LANES] = number * scale;
            }
        }
        let lanes = band.rows() * group;
        self.sums[..lanes * head_dim].fill(0.0);
        self.maxima[..lanes].fill(f32::NEG_INFINITY);
        self.weights[..lanes].fill(0.0);
    }

    /// Converts the first `count` of the keys and values that begin there; keys behind them get numbers that are never used.
    pub(super) fn load<T: CacheElement>(&mut self, cache: &CacheView<'_, T>, starts: &[usize; KEY_TILE], count: usize) {
        let head_dim = self.heads.head_dim;
        let elements = T::elements(head_dim);
        let whole = head_dim / WIDTH * WIDTH;
        let key = |index: usize| &cache.keys[starts[index]..starts[index] + elements];
        let (columns, _) = self.keys.as_chunks_mut::<KEY_TILE>();
        let (eights, rest) = columns[..head_dim].as_chunks_mut::<WIDTH>();
        for (index, places) in eights.iter_mut().enumerate() {
            T::columns(key, index * WIDTH, places);
        }
        for (dim, place) in (whole..).zip(rest) {
            *place = std::array::from_fn(|index| T::number(key(index), dim));
        }
        for (&start, place) in starts.iter().zip(self.values.chunks_exact_mut(head_dim)).take(count) {
            T::widen_all(&cache.values[start..start + elements], place);
        }
    }

    /// Takes the loaded tile, which begins at this position, into some of the rows: an online softmax step (Milakov and Gimelshein,
    /// 2018). A row that sees none of it stays as it is, to the bit.
    pub(super) fn take_in(&mut self, position: usize, rows: Range<usize>) {
        let Heads { group, head_dim, .. } = self.heads;
        let lanes = rows.start * group..rows.end * group;
        for first in (lanes.start / LANES * LANES..lanes.end).step_by(LANES) {
            let visible: [Range<usize>; LANES] = std::array::from_fn(|at| {
                let lane = first + at;
                let seen = if lanes.contains(&lane) { self.visible[lane / group].clone() } else { 0..0 };
                seen.start.saturating_sub(position).min(KEY_TILE)..seen.end.saturating_sub(position).min(KEY_TILE)
            });
            if visible.iter().all(Range::is_empty) {
                continue;
            }
            let scores = self.scores(first);
            let mut shares = [[0f32; KEY_TILE]; LANES];
            let mut shrinks = [0f32; LANES];
            for (at, visible) in visible.iter().enumerate().filter(|(_, visible)| !visible.is_empty()) {
                shrinks[at] = self.weigh(first + at, visible, scores[at], &mut shares[at]);
            }
            let sums = &mut self.sums[first * head_dim..];
            if visible.iter().all(|range| *range == visible[0]) {
                add_values(sums, head_dim, shrinks, shares.each_ref(), visible[0].clone(), &self.values);
                continue;
            }
            for (at, visible) in visible.into_iter().enumerate().filter(|(_, visible)| !visible.is_empty()) {
                add_values(&mut sums[at * head_dim..], head_dim, [shrinks[at]], [&shares[at]], visible, &self.values);
            }
        }
    }

    /// The products of some lanes' queries with every key of the tile, summed over the head in order.
    #[inline(always)]
    fn scores(&self, first_lane: usize) -> [[F32x16; TILE_VECTORS]; LANES] {
        let head_dim = self.heads.head_dim;
        let queries = self.queries[first_lane * head_dim..(first_lane + LANES) * head_dim].as_chunks::<LANES>().0;
        let mut scores = [[F32x16::splat(0.0); TILE_VECTORS]; LANES];
        for (column, query) in self.keys.as_chunks::<KEY_TILE>().0.iter().zip(queries) {
            let (vectors, _) = column.as_chunks::<WIDE>();
            let keys: [F32x16; TILE_VECTORS] = std::array::from_fn(|index| F32x16::load(&vectors[index]));
            for (scores, query) in scores.iter_mut().zip(query) {
                let query = F32x16::splat(*query);
                for (score, key) in scores.iter_mut().zip(keys) {
                    *score = query.mul_add(key, *score);
                }
            }
        }
        scores
    }

    /// Turns a lane's scores of the keys that it sees to weights; gives what its sums so far are multiplied by.
    #[inline(always)]
    fn weigh(
        &mut self,
        lane: usize,
        visible: &Range<usize>,
        scores: [F32x16; TILE_VECTORS],
        shares: &mut [f32; KEY_TILE],
    ) -> f32 {
        let [[a, b], [c, d]] = scores.map(F32x16::halves);
        let hidden = hide([a, b, c, d], visible, f32::NEG_INFINITY);
        let highest = hidden.into_iter().fold(F32x8::splat(self.maxima[lane]), |highest, score| score.max(highest));
        let highest = highest.max_element();
        let weights = hidden.map(|score| score.sub(F32x8::splat(highest)).exp());
        let weights = hide(weights, visible, 0.0);
        let [a, b, c, d] = weights;
        let sum = a.add(c).add(b.add(d)).sum();
        let shrink = F32x8::splat(self.maxima[lane] - highest).exp().max_element();
        self.maxima[lane] = highest;
        self.weights[lane] = multiply_add(self.weights[lane], shrink, sum);
        for (share, weight) in shares.as_chunks_mut().0.iter_mut().zip(weights) {
            weight.store(share);
        }
        shrink
    }

    /// The result of a row.
    pub(super) fn finish_row(&self, row: usize, place: &mut [MaybeUninit<f32>]) {
        let Heads { group, head_dim, .. } = self.heads;
        for (head, place) in place.chunks_exact_mut(head_dim).enumerate() {
            let lane = row * group + head;
            let inverse = 1.0 / self.weights[lane];
            for (place, sum) in place.iter_mut().zip(&self.sums[lane * head_dim..(lane + 1) * head_dim]) {
                place.write(sum * inverse);
            }
        }
    }
}

/// The numbers of a tile with `filler` before and behind the visible ones.
#[inline(always)]
fn hide(numbers: [F32x8; KEY_TILE / WIDTH], visible: &Range<usize>, filler: f32) -> [F32x8; KEY_TILE / WIDTH] {
    if visible.len() == KEY_TILE {
        return numbers;
    }
    let mut flat = [[0f32; WIDTH]; KEY_TILE / WIDTH];
    for (place, numbers) in flat.iter_mut().zip(numbers) {
        numbers.store(place);
    }
    flat.as_flattened_mut()[..visible.start].fill(filler);
    flat.as_flattened_mut()[visible.end..].fill(filler);
    flat.map(|numbers| F32x8::load(&numbers))
}

/// Of each lane `sums = sums * shrink + shares × values` over the visible keys, in order of position.
#[inline(always)]
fn add_values<const COUNT: usize>(
    sums: &mut [f32],
    head_dim: usize,
    shrinks: [f32; COUNT],
    shares: [&[f32; KEY_TILE]; COUNT],
    visible: Range<usize>,
    values: &[f32],
) {
    let rows = || values.chunks_exact(head_dim).enumerate().take(visible.end).skip(visible.start);
    let mut start = 0;
    while start + COLUMNS * WIDE <= head_dim {
        add_columns::<COUNT, COLUMNS>(sums, head_dim, start, shrinks, shares, rows());
        start += COLUMNS * WIDE;
    }
    while start + WIDE <= head_dim {
        add_columns::<COUNT, 1>(sums, head_dim, start, shrinks, shares, rows());
        start += WIDE;
    }
    for lane in 0..COUNT {
        for index in start..head_dim {
            let place = &mut sums[lane * head_dim + index];
            *place =
                rows().fold(*place * shrinks[lane], |sum, (key, row)| multiply_add(shares[lane][key], row[index], sum));
        }
    }
}

/// [`add_values`] for some wide vectors of columns: they stay in registers while the values pass.
#[inline(always)]
fn add_columns<'a, const COUNT: usize, const VECTORS: usize>(
    sums: &mut [f32],
    head_dim: usize,
    start: usize,
    shrinks: [f32; COUNT],
    shares: [&[f32; KEY_TILE]; COUNT],
    rows: impl Iterator<Item = (usize, &'a [f32])>,
) {
    let mut parts: [[F32x16; VECTORS]; COUNT] = std::array::from_fn(|lane| {
        let places = sums[lane * head_dim + start..].as_chunks::<WIDE>().0;
        std::array::from_fn(|index| F32x16::load(&places[index]).mul(F32x16::splat(shrinks[lane])))
    });
    for (key, row) in rows {
        let row: &[[f32; WIDE]; VECTORS] =
            row[start..].as_chunks::<WIDE>().0.first_chunk().expect("the caller counted the columns");
        let row = row.each_ref().map(F32x16::load);
        for (parts, shares) in parts.iter_mut().zip(shares) {
            let share = F32x16::splat(shares[key]);
            for (part, value) in parts.iter_mut().zip(row) {
                *part = share.mul_add(value, *part);
            }
        }
    }
    for (lane, parts) in parts.into_iter().enumerate() {
        let places = sums[lane * head_dim + start..].as_chunks_mut::<WIDE>().0;
        for (place, part) in places.iter_mut().zip(parts) {
            part.store(place);
        }
    }
}
