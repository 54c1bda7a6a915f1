//! Which rows are computed together. A *row tile* is some neighbouring rows of one sequence, which see nearly the same keys. A *band*
//! is row tiles of different sequences that begin with the same blocks of the cache, as those of users do who ask about the same
//! document: each tile of the keys that they have in common is read and converted once for all of them.

use std::ops::Range;

use super::KEY_TILE;
use crate::batch::{PagedBatch, PagedSequence};

/// Rows of one band. Not part of the arithmetic.
const BAND_ROWS: usize = 16;

/// Fewer common positions are not worth it.
const LEAST_COMMON: usize = 2 * KEY_TILE;

/// Bands that each thread should find, if there are as many, so that none waits long for another.
const BANDS_PER_THREAD: usize = 2;

/// Rows `first_row..first_row + rows` of one sequence. The first of them is at position `first_keys - 1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowTile<'a> {
    pub(super) sequence: &'a PagedSequence,
    pub(super) first_row: usize,
    pub(super) rows: usize,
    first_keys: usize,
    /// Most keys that a row sees.
    window: usize,
}

impl RowTile<'_> {
    /// The positions that a row of the tile sees.
    pub(super) fn visible(&self, row: usize) -> Range<usize> {
        let end = self.first_keys + row;
        end.saturating_sub(self.window)..end
    }

    /// The positions that any row of the tile sees.
    pub(super) fn all_visible(&self) -> Range<usize> {
        self.visible(0).start..self.visible(self.rows - 1).end
    }

    /// About how many keys are computed with.
    fn work(&self) -> usize {
        self.rows * self.all_visible().len()
    }
}

/// Row tiles that are computed together.
#[derive(Debug)]
pub(super) struct Band<'a> {
    pub(super) tiles: Vec<RowTile<'a>>,
    /// Positions from 0 on whose blocks are the same for all tiles, and which all have reached: whole tiles of keys. 0 for one alone.
    pub(super) common: usize,
}

impl Band<'_> {
    /// Rows of all tiles.
    pub(super) fn rows(&self) -> usize {
        self.tiles.iter().map(|tile| tile.rows).sum()
    }

    /// About how many keys are computed with.
    pub(super) fn work(&self) -> usize {
        self.tiles.iter().map(RowTile::work).sum()
    }
}

/// Cuts the sequences into bands, those with the most keys first so that no thread starts a long one last.
pub(super) fn bands(batch: &PagedBatch, window: usize, kv_heads: usize, threads: usize) -> Vec<Band<'_>> {
    let kinship = batch.kinship();
    let common_with_next = kinship.common_blocks.iter().skip(1).chain(&[0]);
    let count: usize = batch.sequences.iter().map(|sequence| sequence.rows.div_ceil(BAND_ROWS)).sum();
    let most = (count * kv_heads / (threads * BANDS_PER_THREAD)).max(1);
    let mut bands: Vec<Band<'_>> = Vec::with_capacity(count);
    for ((&index, &before), &after) in kinship.order.iter().zip(&kinship.common_blocks).zip(common_with_next) {
        let sequence = &batch.sequences[index];
        for start in (0..sequence.rows).step_by(BAND_ROWS) {
            let rows = BAND_ROWS.min(sequence.rows - start);
            let (first_row, first_keys) = (sequence.first_row + start, sequence.keys - sequence.rows + 1 + start);
            let tile = RowTile { sequence, first_row, rows, first_keys, window };
            // Only the first rows of a sequence stand beside the last ones of the sequence before.
            let positions =
                |blocks: usize, is_neighbour: bool| if is_neighbour { blocks * batch.block_size } else { 0 };
            let common = [positions(before, start == 0), positions(after, start + rows == sequence.rows)];
            let last = bands.last_mut().filter(|band| band.tiles.len() < most);
            if !last.is_some_and(|band| join(band, tile, common)) {
                bands.push(Band { tiles: vec![tile], common: 0 });
            }
        }
    }
    bands.sort_by_key(|band| std::cmp::Reverse(band.work()));
    bands
}

/// Adds a tile that has so many positions in common with the band's last one and with the tile after it, unless what the band or the
/// tile after it would share is more than twice as long.
fn join<'a>(band: &mut Band<'a>, tile: RowTile<'a>, [common, with_next]: [usize; 2]) -> bool {
    let reached = |tile: &RowTile<'_>| tile.all_visible().end;
    let shared = if band.tiles.len() == 1 { reached(&band.tiles[0]) } else { band.common };
    let common = common.min(shared).min(reached(&tile)) / KEY_TILE * KEY_TILE;
    let is_worth_it = common >= LEAST_COMMON && 2 * common >= band.common && 2 * common >= with_next;
    let joins = is_worth_it && band.rows() + tile.rows <= BAND_ROWS;
    if joins {
        band.tiles.push(tile);
        band.common = common;
    }
    joins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{BatchArrays, CacheShape, Member};

    /// Lone rows of sequences with these tables, in blocks of 32; each has half of its last block.
    fn batch(tables: &[&[u32]]) -> PagedBatch {
        let member = |table: &&[u32]| Member { rows: 1, keys: 32 * table.len() - 16, blocks: table.to_vec() };
        let members: Vec<Member> = tables.iter().map(member).collect();
        let shape = CacheShape { num_blocks: 100, block_size: 32, kv_heads: 1, head_dim: 1 };
        BatchArrays::new(&members, 32).batch(shape).expect("a valid batch")
    }

    /// The rows of each band, and what they have in common.
    fn found(batch: &PagedBatch, window: usize, threads: usize) -> Vec<(Vec<usize>, usize)> {
        let mut found: Vec<_> = bands(batch, window, 4, threads)
            .iter()
            .map(|band| {
                let mut rows: Vec<_> = band.tiles.iter().map(|tile| tile.first_row).collect();
                rows.sort_unstable();
                (rows, band.common)
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn sequences_that_begin_alike_are_computed_together() {
        let batch = batch(&[&[1, 2, 3, 10], &[7, 8, 9, 11], &[1, 2, 3, 4, 12], &[7, 8, 13], &[1, 2, 3, 4, 14]]);
        assert_eq!(found(&batch, usize::MAX, 1), [(vec![0, 2, 4], 96), (vec![1, 3], 64)]);
    }

    #[test]
    fn a_short_common_beginning_does_not_part_those_with_a_long_one() {
        let long: Vec<u32> = (0..20).collect();
        let (first, second) = ([&long[..], &[40]].concat(), [&long[..], &[41]].concat());
        let third: Vec<u32> = [0, 1, 2].into_iter().chain(60..78).collect();
        assert_eq!(found(&batch(&[&first, &third, &second]), usize::MAX, 1), [(vec![0, 2], 640), (vec![1], 0)]);
        let short = [0, 1, 2];
        assert_eq!(found(&batch(&[&first, &short, &second]), usize::MAX, 1), [(vec![0, 2], 640), (vec![1], 0)]);
    }

    #[test]
    fn long_ends_of_their_own_do_not_part_those_that_begin_alike() {
        let table = |own: u32| (0..20).chain(own..own + 30).collect::<Vec<u32>>();
        assert_eq!(found(&batch(&[&table(20), &table(60)]), usize::MAX, 1), [(vec![0, 1], 640)]);
    }

    #[test]
    fn there_stay_enough_for_the_threads() {
        let tables: Vec<Vec<u32>> = (0..8).map(|last| vec![1, 2, 3, 10 + last]).collect();
        let batch = batch(&tables.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let sizes = |threads| found(&batch, usize::MAX, threads).iter().map(|(rows, _)| rows.len()).collect::<Vec<_>>();
        assert_eq!(sizes(2), [8]);
        assert_eq!(sizes(8), [2, 2, 2, 2]);
        assert_eq!(sizes(16), [1; 8]);
    }
}
