//! `csrc/paged_decode.cu` and `csrc/paged_prefill.cu`: which sequences and rows go to which kernel, in what grid, with how much
//! shared memory and workspace. What is planned for a step of lone rows depends on how many there are, never on their keys, so
//! that a captured graph of it stays good.

use super::{DevicePointer, ElementType, KernelArguments, Launch};
use crate::batch::PagedBatch;
use crate::error::KernelError;

/// The longest head that the kernels are compiled for.
const LONGEST_HEAD: usize = 256;

/// Positions of a tile of keys.
const KEY_TILE: u32 = 32;

/// Most query heads of a block of `paged_decode`.
const DECODE_HEADS: u32 = 8;

/// Shared memory that any card gives to a block of `paged_decode`, in bytes.
const DECODE_SHARED_BYTES: u32 = 48 * 1024;

/// Blocks of `paged_decode` that a multiprocessor is to have at least, while there are splits left to make.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 4;

/// Most splits of a sequence's keys.
const MOST_SPLITS: u32 = 32;

/// Threads of a block of `paged_prefill`.
const PREFILL_THREADS: u32 = 128;

/// The kernels' arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernels' own file.
pub struct AttentionArguments {
    pub query: DevicePointer,
    pub output: DevicePointer,
    pub key_cache: DevicePointer,
    pub value_cache: DevicePointer,
    pub cu_seqlens_q: DevicePointer,
    pub seq_lens_k: DevicePointer,
    pub cu_blocks: DevicePointer,
    pub block_tables: DevicePointer,
    pub work: DevicePointer,
    pub sums: DevicePointer,
    pub stats: DevicePointer,
    pub kv_heads: u32,
    pub group: u32,
    pub heads_per_block: u32,
    pub head_dim: u32,
    pub block_size: u32,
    pub splits: u32,
    pub bf16: u32,
    pub vectors: u32,
    pub window: u32,
    pub scale: f32,
}

// SAFETY: `repr(C)`, the same fields in the same order, without padding.
#[allow(unsafe_code)]
unsafe impl KernelArguments for AttentionArguments {}

/// What stays the same from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads: a multiple of the key heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Length of a head, at most 256.
    pub head_dim: usize,
    /// Slots of a block of the cache.
    pub block_size: usize,
    /// Element type of queries and outputs: F32 or BF16.
    pub activation: ElementType,
    /// Element type of the cache.
    pub cache: ElementType,
}

/// Where everything lies on the device. Index arrays are u32.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AttentionPointers {
    /// `[rows, heads * head_dim]`.
    pub query: DevicePointer,
    /// `[rows, heads * head_dim]`.
    pub output: DevicePointer,
    /// `[num_blocks, block_size, kv_heads, head_dim]`.
    pub key_cache: DevicePointer,
    /// `[num_blocks, block_size, kv_heads, head_dim]`.
    pub value_cache: DevicePointer,
    /// `[sequences + 1]`.
    pub cu_seqlens_q: DevicePointer,
    /// `[sequences]`.
    pub seq_lens_k: DevicePointer,
    /// `[sequences + 1]`.
    pub cu_blocks: DevicePointer,
    /// `[cu_blocks[sequences]]`.
    pub block_tables: DevicePointer,
    /// [`AttentionPlan::decode`].
    pub decode: DevicePointer,
    /// [`AttentionPlan::tiles`].
    pub tiles: DevicePointer,
    /// [`AttentionPlan::sums_floats`] floats.
    pub sums: DevicePointer,
    /// [`AttentionPlan::stats_floats`] floats.
    pub stats: DevicePointer,
}

/// The work of one step, the same for every layer.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionPlan {
    shape: AttentionShape,
    splits: u32,
    decode: Vec<u32>,
    tiles: Vec<u32>,
}

impl AttentionPlan {
    /// Sequences with one row go to `paged_decode`, tiles of the rows of others to `paged_prefill`: those with the most keys
    /// first, so that no block starts a long one last.
    ///
    /// # Errors
    /// When the kernels are not compiled for the shape: heads of 1 to 256 numbers, query heads a multiple of the key heads,
    /// activations in F32 or BF16.
    pub fn new(batch: &PagedBatch, shape: AttentionShape, multiprocessors: u32) -> Result<Self, KernelError> {
        shape.check()?;
        let rows_per_tile = shape.rows_per_tile() as usize;
        let (mut decode, mut tiles) = (Vec::new(), Vec::new());
        for (index, sequence) in batch.sequences.iter().enumerate() {
            if sequence.rows == 1 {
                decode.push(index as u32);
                continue;
            }
            for start in (0..sequence.rows).step_by(rows_per_tile) {
                let keys = sequence.keys - sequence.rows + start + rows_per_tile;
                tiles.push((keys, [index as u32, (sequence.first_row + start) as u32]));
            }
        }
        tiles.sort_by_key(|(keys, _)| std::cmp::Reverse(*keys));
        let tiles = tiles.into_iter().flat_map(|(_, tile)| tile).collect();
        let blocks = (decode.len() as u32).saturating_mul(shape.decode_blocks().0);
        Ok(Self { shape, splits: splits(blocks, multiprocessors), decode, tiles })
    }

    /// What the plan was made for.
    #[must_use]
    pub fn shape(&self) -> AttentionShape {
        self.shape
    }

    /// The sequences with one row.
    #[must_use]
    pub fn decode(&self) -> &[u32] {
        &self.decode
    }

    /// Pairs of a sequence and the first row of a tile.
    #[must_use]
    pub fn tiles(&self) -> &[u32] {
        &self.tiles
    }

    /// Floats of workspace for the splits' sums. Layers may share it.
    #[must_use]
    pub fn sums_floats(&self) -> usize {
        self.stats_floats() / 2 * self.shape.head_dim
    }

    /// Floats of workspace for the splits' maxima and weights.
    #[must_use]
    pub fn stats_floats(&self) -> usize {
        if self.splits == 1 { 0 } else { 2 * self.decode.len() * self.shape.heads * self.splits as usize }
    }

    /// The grids of one layer whose rows see at most `window` keys, to run one after another. Layers of different windows share
    /// a plan: the grids are the same, and the kernels find what is visible themselves.
    #[must_use]
    pub fn launches(&self, pointers: &AttentionPointers, window: Option<usize>) -> Vec<Launch<AttentionArguments>> {
        let window = window.and_then(|window| u32::try_from(window).ok()).unwrap_or(u32::MAX);
        let mut launches = self.unlimited(pointers);
        launches.iter_mut().for_each(|launch| launch.arguments.window = window);
        launches
    }

    /// The grids, with every key visible up to a row's own.
    fn unlimited(&self, pointers: &AttentionPointers) -> Vec<Launch<AttentionArguments>> {
        let mut launches = Vec::new();
        if !self.decode.is_empty() {
            launches.push(self.decode_launch(pointers));
            if self.splits > 1 {
                launches.push(self.combine_launch(pointers));
            }
        }
        if !self.tiles.is_empty() {
            launches.push(self.prefill_launch(pointers));
        }
        launches
    }

    fn arguments(&self, pointers: &AttentionPointers, work: DevicePointer, heads: u32) -> AttentionArguments {
        let shape = self.shape;
        let AttentionPointers { query, output, key_cache, value_cache, .. } = *pointers;
        // Packs of 16 bytes for keys, and as many values as a lane of `paged_decode` has.
        let lane_dims = shape.longest() as usize / 32;
        let whole =
            (shape.head_dim * shape.cache.bytes()).is_multiple_of(16) && shape.head_dim.is_multiple_of(lane_dims);
        let vectors = whole && [key_cache, value_cache].iter().all(|cache| cache.is_aligned(16));
        AttentionArguments {
            query,
            output,
            key_cache,
            value_cache,
            cu_seqlens_q: pointers.cu_seqlens_q,
            seq_lens_k: pointers.seq_lens_k,
            cu_blocks: pointers.cu_blocks,
            block_tables: pointers.block_tables,
            work,
            sums: pointers.sums,
            stats: pointers.stats,
            kv_heads: shape.kv_heads as u32,
            group: shape.group(),
            heads_per_block: heads,
            head_dim: shape.head_dim as u32,
            block_size: shape.block_size as u32,
            splits: self.splits,
            bf16: u32::from(shape.activation == ElementType::Bf16),
            vectors: u32::from(vectors),
            window: u32::MAX,
            scale: (std::f64::consts::LOG2_E / (shape.head_dim as f64).sqrt()) as f32,
        }
    }

    fn decode_launch(&self, pointers: &AttentionPointers) -> Launch<AttentionArguments> {
        let shape = self.shape;
        let (blocks, heads) = shape.decode_blocks();
        let compiled = heads.next_power_of_two();
        let bytes = |warps: u32| {
            let queries = compiled * 4 * (shape.head_dim as u32).next_multiple_of(8);
            queries + warps * KEY_TILE * (4 * compiled + 8 + key_bytes(shape.head_dim, shape.cache))
        };
        let warps = [4, 2].into_iter().find(|warps| bytes(*warps) <= DECODE_SHARED_BYTES).unwrap_or(1);
        Launch {
            kernel: format!("paged_decode_{}_{}_{compiled}", shape.cache.suffix(), shape.longest()),
            blocks: [self.splits, blocks, self.decode.len() as u32],
            threads: 32 * warps,
            shared_bytes: bytes(warps),
            arguments: self.arguments(pointers, pointers.decode, heads),
        }
    }

    fn combine_launch(&self, pointers: &AttentionPointers) -> Launch<AttentionArguments> {
        Launch {
            kernel: "paged_combine".to_string(),
            blocks: [self.shape.heads as u32, self.decode.len() as u32, 1],
            threads: (self.shape.head_dim as u32).next_multiple_of(32),
            shared_bytes: 0,
            arguments: self.arguments(pointers, pointers.decode, 1),
        }
    }

    fn prefill_launch(&self, pointers: &AttentionPointers) -> Launch<AttentionArguments> {
        let shape = self.shape;
        let (blocks, heads) = shape.prefill_blocks();
        let stride = (shape.head_dim as u32).next_multiple_of(8) + 4;
        let lanes = shape.lanes();
        Launch {
            kernel: format!("paged_prefill_{}_{}", shape.cache.suffix(), shape.longest()),
            blocks: [self.tiles.len() as u32 / 2, blocks, 1],
            threads: PREFILL_THREADS,
            shared_bytes: 4 * ((lanes + KEY_TILE) * stride + lanes * (KEY_TILE + 4)) + 8 * KEY_TILE,
            arguments: self.arguments(pointers, pointers.tiles, heads),
        }
    }
}

impl AttentionShape {
    fn check(&self) -> Result<(), KernelError> {
        const OPERATION: &str = "paged_attention";
        let refuse = |argument, value: usize, expected: String| {
            Err(KernelError::OutOfRange { operation: OPERATION, argument, index: 0, value: value as u64, expected })
        };
        if !(1..=LONGEST_HEAD).contains(&self.head_dim) {
            return refuse("head_dim", self.head_dim, format!("from 1 to {LONGEST_HEAD}"));
        }
        if self.kv_heads == 0 || self.heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return refuse("heads", self.heads, format!("a multiple of the {} key heads", self.kv_heads));
        }
        if self.activation == ElementType::F16 {
            let actual = self.activation.suffix().to_string();
            return Err(KernelError::ElementType {
                operation: OPERATION,
                argument: "query",
                expected: "f32 or bf16",
                actual,
            });
        }
        Ok(())
    }

    fn group(&self) -> u32 {
        (self.heads / self.kv_heads) as u32
    }

    /// The longest head of the kernel that this one goes to.
    fn longest(&self) -> u32 {
        match self.head_dim {
            ..=64 => 64,
            65..=128 => 128,
            _ => LONGEST_HEAD as u32,
        }
    }

    /// Pairs of a row and a head of one block of `paged_prefill`.
    fn lanes(&self) -> u32 {
        if self.longest() > 128 { 32 } else { 64 }
    }

    /// Blocks for all heads when one takes at most so many of a group, and how many one takes.
    fn blocks(&self, most: u32) -> (u32, u32) {
        let parts = self.group().div_ceil(most);
        let heads = self.group().div_ceil(parts);
        (self.kv_heads as u32 * self.group().div_ceil(heads), heads)
    }

    fn decode_blocks(&self) -> (u32, u32) {
        self.blocks(DECODE_HEADS)
    }

    fn prefill_blocks(&self) -> (u32, u32) {
        self.blocks(self.lanes())
    }

    fn rows_per_tile(&self) -> u32 {
        self.lanes() / self.prefill_blocks().1
    }
}

/// Splits of every sequence's keys when there are so many blocks without them.
fn splits(blocks: u32, multiprocessors: u32) -> u32 {
    (BLOCKS_PER_MULTIPROCESSOR * multiprocessors / blocks.max(1)).clamp(1, MOST_SPLITS)
}

/// Bytes of a key in the shared memory of `paged_decode`: an odd number of 16 bytes.
fn key_bytes(head_dim: usize, cache: ElementType) -> u32 {
    ((head_dim * cache.bytes()).div_ceil(16) as u32 | 1) * 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::PagedSequence;
    use crate::checks::Random;

    fn batch(lengths: &[(usize, usize)]) -> PagedBatch {
        let mut first_row = 0;
        let mut sequences = Vec::new();
        for &(rows, keys) in lengths {
            sequences.push(PagedSequence { first_row, rows, keys, blocks: 0..0 });
            first_row += rows;
        }
        let rows = vec![0; first_row];
        let (positions, slots) = (rows.clone(), rows);
        PagedBatch {
            positions,
            slots,
            sequences,
            block_tables: Vec::new(),
            num_blocks: 0,
            block_size: 16,
            kinship: std::sync::OnceLock::new(),
            #[cfg(feature = "cuda")]
            on_card: None,
        }
    }

    fn shape(kv_heads: usize, group: usize, head_dim: usize) -> AttentionShape {
        let (activation, cache) = (ElementType::Bf16, ElementType::Bf16);
        AttentionShape { heads: kv_heads * group, kv_heads, head_dim, block_size: 16, activation, cache }
    }

    #[test]
    fn every_row_is_computed_once_with_every_head() {
        let mut random = Random(3);
        for _ in 0..300 {
            let lengths: Vec<(usize, usize)> = (0..random.below(9))
                .map(|_| {
                    let rows = if random.below(2) == 0 { 1 } else { 1 + random.below(200) };
                    (rows, rows + random.below(500))
                })
                .collect();
            let shape = shape(1 + random.below(4), 1 + random.below(75), [8, 64, 80, 128, 256][random.below(5)]);
            let batch = batch(&lengths);
            let plan = AttentionPlan::new(&batch, shape, 1 + random.below(140) as u32).expect("heads that fit");
            let mut computed = vec![0; batch.rows()];
            plan.decode().iter().for_each(|sequence| computed[batch.sequences[*sequence as usize].first_row] += 1);
            for tile in plan.tiles().chunks_exact(2) {
                let sequence = &batch.sequences[tile[0] as usize];
                let end = sequence.first_row + sequence.rows;
                let first = tile[1] as usize;
                computed[first..end.min(first + shape.rows_per_tile() as usize)].iter_mut().for_each(|row| *row += 1);
            }
            assert!(computed.iter().all(|times| *times == 1), "{lengths:?}");
            for (blocks, heads) in [shape.decode_blocks(), shape.prefill_blocks()] {
                let parts = blocks / shape.kv_heads as u32;
                assert!(parts * heads >= shape.group() && (parts - 1) * heads < shape.group(), "no block is idle");
            }
            assert!(shape.rows_per_tile() * shape.prefill_blocks().1 <= shape.lanes());
        }
    }

    #[test]
    fn a_step_of_lone_rows_is_planned_alike_whatever_their_keys() {
        let pointers = AttentionPointers { decode: DevicePointer(64), ..AttentionPointers::default() };
        for count in [1, 2, 7, 64, 300] {
            let plan = |keys: usize| {
                AttentionPlan::new(&batch(&vec![(1, keys); count]), shape(8, 4, 128), 132).expect("a head that fits")
            };
            for window in [None, Some(1), Some(4096)] {
                assert_eq!(plan(1).launches(&pointers, window), plan(100_000).launches(&pointers, window));
            }
            assert_eq!(plan(1).sums_floats(), plan(100_000).sums_floats());
        }
    }

    #[test]
    fn splits_fill_the_card_and_stay_in_bounds() {
        assert_eq!(splits(8, 132), 32, "no more than the most");
        assert_eq!(splits(64, 132), 8);
        assert_eq!(splits(528, 132), 1);
        assert_eq!(splits(100_000, 132), 1, "never none");
        assert_eq!(splits(0, 132), 32, "nothing to do is no division by zero");
    }

    #[test]
    fn blocks_of_decode_fit_every_card() {
        for head_dim in [1, 8, 64, 80, 96, 128, 200, 256] {
            for group in 1..20 {
                for cache in ElementType::ALL {
                    let shape = AttentionShape { cache, ..shape(2, group, head_dim) };
                    let plan = AttentionPlan::new(&batch(&[(1, 5), (3, 3)]), shape, 10).expect("a head that fits");
                    let launches = plan.launches(&AttentionPointers::default(), None);
                    assert!(launches[0].shared_bytes <= DECODE_SHARED_BYTES, "{shape:?}");
                    // What a block may have at most on the smallest cards of capability 8.0 and up.
                    assert!(launches.iter().all(|launch| launch.shared_bytes <= 99 * 1024), "{shape:?}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_no_kernel_is_compiled_for_are_refused() {
        let half = AttentionShape { activation: ElementType::F16, ..shape(1, 1, 64) };
        let uneven = AttentionShape { heads: 5, ..shape(2, 2, 64) };
        let none = AttentionShape { heads: 0, kv_heads: 0, ..shape(1, 1, 64) };
        for wrong in [shape(1, 1, 257), shape(1, 1, 0), half, uneven, none] {
            assert!(AttentionPlan::new(&batch(&[]), wrong, 1).is_err(), "{wrong:?}");
        }
    }
}
