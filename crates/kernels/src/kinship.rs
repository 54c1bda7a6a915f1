//! Which sequences of a batch begin with the same blocks of the cache.

use crate::batch::PagedSequence;

/// The sequences in the order of their block tables: those that have the most blocks in common are neighbours.
#[derive(Debug, Clone)]
pub(crate) struct Kinship {
    pub(crate) order: Vec<usize>,
    /// Of each in this order, how many blocks at its beginning are those of the one before.
    pub(crate) common_blocks: Vec<usize>,
}

impl Kinship {
    pub(crate) fn of(sequences: &[PagedSequence], block_tables: &[u32]) -> Self {
        let table = |index: usize| &block_tables[sequences[index].blocks.clone()];
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|index| table(*index));
        let common = |pair: &[usize]| {
            table(pair[0]).iter().zip(table(pair[1])).take_while(|(first, second)| first == second).count()
        };
        let common_blocks = order.first().map(|_| 0).into_iter().chain(order.windows(2).map(common)).collect();
        Self { order, common_blocks }
    }
}
