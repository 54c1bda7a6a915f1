//! The backend that plans launches as a card's does, and gives them to the emulator.
#![allow(unsafe_code)]

use sconce_emulator::Grid;
use sconce_kernels::RopePairs;
use sconce_kernels::checks::{
    AttentionCase, Backend, BlockCopyCase, EmbeddingCase, MatmulCase, Normalized, RopeCase, Rotated, SwapCase,
    TokenCase,
};
use sconce_kernels::launch::{
    AttentionPlan, AttentionPointers, AttentionShape, BlockCopies, DevicePointer, ElementType, Embedding,
    EmbeddingArguments, KernelArguments, Launch, ResolveTokens, ResolveTokensArguments, RmsNorm, RmsNormArguments,
    RopeKvWrite, RopeKvWriteArguments, RopeTable, RopeTableArguments, RowDirection, SelectRows, SiluMul,
};

use crate::memory::Buffer;

/// A card in the emulator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Emulated {
    pub(crate) activation: ElementType,
    /// Whether float buffers begin one number behind an aligned address, where no kernel may load more than one at once.
    pub(crate) misaligned: bool,
    /// What the planner is told of the card: more of them make more splits.
    pub(crate) multiprocessors: u32,
}

/// Runs a launch; the buffers that its arguments name outlive the call.
pub(crate) fn run<A: KernelArguments>(launch: &Launch<A>, seed: u64) -> Result<(), String> {
    let Launch { kernel, blocks, threads, shared_bytes, arguments } = launch;
    let grid = Grid { kernel, blocks: *blocks, threads: *threads, shared_bytes: *shared_bytes };
    // SAFETY: the arguments are the kernel's own struct, and its pointers lead to buffers of the size that the plan was made for.
    unsafe { sconce_emulator::launch(grid, arguments, seed) }
}

/// Gives what `compute` gives for two orders of threads, which must be the same to the bit.
pub(crate) fn twice<T: Bits>(compute: impl Fn(u64) -> Result<T, String>) -> Result<T, String> {
    let first = compute(1)?;
    if compute(2)?.bits() == first.bits() {
        Ok(first)
    } else {
        Err("the result depends on the order of threads".to_string())
    }
}

/// What a result is compared by: a NaN that was left alone is equal to itself.
pub(crate) trait Bits {
    fn bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn bits(&self) -> Vec<u32> {
        self.iter().map(|value| value.to_bits()).collect()
    }
}

impl Bits for Vec<u32> {
    fn bits(&self) -> Vec<u32> {
        self.clone()
    }
}

impl Bits for Normalized {
    fn bits(&self) -> Vec<u32> {
        [self.normed.bits(), self.sum.bits()].concat()
    }
}

impl Bits for Rotated {
    fn bits(&self) -> Vec<u32> {
        [self.query.bits(), self.key_cache.bits(), self.value_cache.bits()].concat()
    }
}

impl Emulated {
    fn start(self, element: ElementType) -> usize {
        if self.misaligned { element.bytes() } else { 0 }
    }

    pub(crate) fn floats(self, values: &[f32], element: ElementType) -> Buffer {
        Buffer::floats(values, element, self.start(element))
    }

    pub(crate) fn poisoned(self, count: usize, element: ElementType) -> Buffer {
        Buffer::poisoned(count * element.bytes(), self.start(element))
    }
}

impl Backend for Emulated {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn activation(&self) -> ElementType {
        self.activation
    }

    fn lacks(&self) -> &'static [&'static str] {
        // Products are candle's, whose kernels are not in the emulator.
        &["float_matmul", "quantized_matmul"]
    }

    fn rms_norm(
        &self,
        base: &[f32],
        update: Option<&[f32]>,
        weight: &[f32],
        epsilon: f32,
    ) -> Result<Normalized, String> {
        let base_buffer = self.floats(base, ElementType::F32);
        let update_buffer = update.map(|update| self.floats(update, self.activation));
        let weight_buffer = self.floats(weight, ElementType::F32);
        twice(|seed| {
            let normed = self.poisoned(base.len(), self.activation);
            let sum = self.poisoned(base.len(), ElementType::F32);
            let arguments = RmsNormArguments {
                base: base_buffer.pointer(),
                update: update_buffer.as_ref().map_or(DevicePointer::default(), Buffer::pointer),
                weight: weight_buffer.pointer(),
                normed: normed.pointer(),
                sum: sum.pointer(),
                width: weight.len() as u32,
                epsilon,
            };
            let rows = (base.len() / weight.len()) as u32;
            run(&RmsNorm { rows, activation: self.activation, arguments }.launch(), seed)?;
            let sum = if update.is_some() { sum.read(ElementType::F32) } else { base.to_vec() };
            Ok(Normalized { normed: normed.read(self.activation), sum })
        })
    }

    fn silu_mul(&self, gate: &[f32], up: &[f32], _width: usize) -> Result<Vec<f32>, String> {
        let activation = self.activation;
        let (gates, ups) = (self.floats(gate, activation), self.floats(up, activation));
        twice(|seed| {
            let output = self.poisoned(gate.len(), activation);
            let (gate, up, count) = (gates.pointer(), ups.pointer(), gate.len() as u64);
            run(&SiluMul { activation, gate, up, output: output.pointer(), count }.launch(), seed)?;
            Ok(output.read(activation))
        })
    }

    fn rope_kv_write(&self, case: &RopeCase<'_>) -> Result<Rotated, String> {
        let (rows, pairs) = (case.batch.positions.len(), case.frequencies.per_pair().len());
        let [query, key, value] = [case.query, case.key, case.value].map(|values| self.floats(values, self.activation));
        let positions = Buffer::indices(&case.batch.positions);
        let slots = Buffer::indices(&case.batch.slot_mapping);
        let frequencies = Buffer::doubles(case.frequencies.per_pair());
        let biases = case.biases.map(|biases| biases.map(|bias| self.floats(bias, ElementType::F32)));
        let norms =
            case.norms.map(|norms| [norms.query, norms.key].map(|weight| self.floats(weight, ElementType::F32)));
        let bias = |which: usize| biases.as_ref().map_or(DevicePointer::default(), |biases| biases[which].pointer());
        let norm = |which: usize| norms.as_ref().map_or(DevicePointer::default(), |norms| norms[which].pointer());
        twice(|seed| {
            let growth = case.frequencies.query_growth();
            let [cosines, sines] = [(); 2].map(|()| self.poisoned(rows * pairs, ElementType::F32));
            let table = RopeTableArguments {
                positions: positions.pointer(),
                frequencies: frequencies.pointer(),
                cosines: cosines.pointer(),
                sines: sines.pointer(),
                rows: rows as u32,
                pairs: pairs as u32,
                magnitude: case.frequencies.magnitude(),
            };
            run(&RopeTable { arguments: table }.launch(), seed)?;
            let rotated = self.poisoned(case.query.len(), self.activation);
            let [key_cache, value_cache] =
                [case.key_cache, case.value_cache].map(|cache| self.floats(cache, case.cache_type));
            let arguments = RopeKvWriteArguments {
                query: query.pointer(),
                key: key.pointer(),
                value: value.pointer(),
                query_bias: bias(0),
                key_bias: bias(1),
                value_bias: bias(2),
                query_norm: norm(0),
                key_norm: norm(1),
                cosines: cosines.pointer(),
                sines: sines.pointer(),
                slots: slots.pointer(),
                positions: positions.pointer(),
                rotated: rotated.pointer(),
                key_cache: key_cache.pointer(),
                value_cache: value_cache.pointer(),
                heads: case.heads as u32,
                kv_heads: case.shape.kv_heads as u32,
                head_dim: case.shape.head_dim as u32,
                pairs: pairs as u32,
                halves: u32::from(case.frequencies.pairs() == RopePairs::Halves),
                paired: 0,
                epsilon: case.norms.map_or(0.0, |norms| norms.epsilon),
                growth: growth.map_or(0.0, |growth| growth.scale),
                growth_period: growth.map_or(1, |growth| growth.period),
            };
            let (activation, cache) = (self.activation, case.cache_type);
            let write = RopeKvWrite { activation, cache, rows: rows as u32, arguments };
            run(&write.launch().map_err(|error| error.to_string())?, seed)?;
            Ok(Rotated {
                query: rotated.read(self.activation),
                key_cache: key_cache.read(cache),
                value_cache: value_cache.read(cache),
            })
        })
    }

    fn paged_attention(&self, case: &AttentionCase<'_>) -> Result<Vec<f32>, String> {
        let shape = AttentionShape {
            heads: case.heads,
            kv_heads: case.shape.kv_heads,
            head_dim: case.shape.head_dim,
            block_size: case.shape.block_size,
            activation: self.activation,
            cache: case.cache_type,
        };
        let batch = case.batch.batch(case.shape)?;
        let plan = AttentionPlan::new(&batch, shape, self.multiprocessors).map_err(|error| error.to_string())?;
        let query = self.floats(case.query, self.activation);
        let [key_cache, value_cache] =
            [case.key_cache, case.value_cache].map(|cache| self.floats(cache, case.cache_type));
        let arrays = case.batch;
        let [cu_seqlens_q, seq_lens_k, cu_blocks, block_tables] =
            [&arrays.cu_seqlens_q, &arrays.seq_lens_k, &arrays.cu_blocks, &arrays.block_tables]
                .map(|values| Buffer::indices(values));
        let (decode, tiles) = (Buffer::indices(plan.decode()), Buffer::indices(plan.tiles()));
        twice(|seed| {
            let output = self.poisoned(case.query.len(), self.activation);
            let sums = self.poisoned(plan.sums_floats(), ElementType::F32);
            let stats = self.poisoned(plan.stats_floats(), ElementType::F32);
            let pointers = AttentionPointers {
                query: query.pointer(),
                output: output.pointer(),
                key_cache: key_cache.pointer(),
                value_cache: value_cache.pointer(),
                cu_seqlens_q: cu_seqlens_q.pointer(),
                seq_lens_k: seq_lens_k.pointer(),
                cu_blocks: cu_blocks.pointer(),
                block_tables: block_tables.pointer(),
                decode: decode.pointer(),
                tiles: tiles.pointer(),
                sums: sums.pointer(),
                stats: stats.pointer(),
            };
            for launch in plan.launches(&pointers, case.window) {
                run(&launch, seed)?;
            }
            // Reading a buffer looks after what lies beside it.
            sums.read(ElementType::F32);
            stats.read(ElementType::F32);
            Ok(output.read(self.activation))
        })
    }

    fn embedding(&self, case: &EmbeddingCase<'_>) -> Result<Vec<f32>, String> {
        // Blocks of two bytes' alignment at the least.
        let table = Buffer::bytes(case.table, if self.misaligned { 2 } else { 0 });
        let ids = Buffer::indices(case.ids);
        twice(|seed| {
            let rows = self.poisoned(case.ids.len() * case.width, ElementType::F32);
            let arguments = EmbeddingArguments {
                table: table.pointer(),
                ids: ids.pointer(),
                rows: rows.pointer(),
                width: case.width as u32,
            };
            let count = case.ids.len() as u32;
            run(&Embedding { rows: count, weight_type: case.weight_type, arguments }.launch(), seed)?;
            Ok(rows.read(ElementType::F32))
        })
    }

    fn resolve_tokens(&self, case: &TokenCase) -> Result<Vec<u32>, String> {
        let [drawn, rows, draws] = [&case.drawn, &case.rows, &case.draws].map(|values| Buffer::indices(values));
        twice(|seed| {
            let input_ids = Buffer::indices(&case.input_ids);
            let arguments = ResolveTokensArguments {
                input_ids: input_ids.pointer(),
                drawn: drawn.pointer(),
                rows: rows.pointer(),
                draws: draws.pointer(),
                count: case.rows.len() as u32,
                vocabulary: case.vocabulary as u32,
            };
            run(&ResolveTokens { arguments }.launch(), seed)?;
            Ok(input_ids.read_indices())
        })
    }

    fn block_copy(&self, case: &BlockCopyCase<'_>) -> Result<Vec<f32>, String> {
        let plan = BlockCopies::new(case.copies);
        let words = Buffer::indices(plan.words());
        let bytes = case.cache_type.bytes();
        twice(|seed| {
            let cache = self.floats(case.cache, case.cache_type);
            let (slot, block) = (case.shape.slot() * bytes, case.shape.block() * bytes);
            for launch in plan.launches(cache.pointer(), words.pointer(), slot, block) {
                run(&launch, seed)?;
            }
            Ok(cache.read(case.cache_type))
        })
    }

    fn block_swap(&self, case: &SwapCase<'_>) -> Result<Vec<f32>, String> {
        let from = self.floats(case.from, case.cache_type);
        let (gathered, scattered) = (Buffer::indices(case.gathered), Buffer::indices(case.scattered));
        let (block, count) = (case.shape.block(), case.gathered.len());
        twice(|seed| {
            let to = self.floats(case.to, case.cache_type);
            let buffer = Buffer::poisoned(count * block * case.cache_type.bytes(), 0);
            let copy = |direction, source: &Buffer, destination: &Buffer, rows: &Buffer| SelectRows {
                direction,
                count: count as u32,
                row_bytes: block * case.cache_type.bytes(),
                source: source.pointer(),
                destination: destination.pointer(),
                rows: rows.pointer(),
            };
            run(&copy(RowDirection::Gather, &from, &buffer, &gathered).launch(), seed)?;
            run(&copy(RowDirection::Scatter, &buffer, &to, &scattered).launch(), seed)?;
            Ok(to.read(case.cache_type))
        })
    }

    fn select_rows(
        &self,
        matrix: &[f32],
        element: ElementType,
        columns: usize,
        rows: &[u32],
    ) -> Result<Vec<f32>, String> {
        let matrix = self.floats(matrix, element);
        let list = Buffer::indices(rows);
        twice(|seed| {
            let selected = self.poisoned(rows.len() * columns, element);
            let launch = SelectRows {
                direction: RowDirection::Gather,
                count: rows.len() as u32,
                row_bytes: columns * element.bytes(),
                source: matrix.pointer(),
                destination: selected.pointer(),
                rows: list.pointer(),
            };
            run(&launch.launch(), seed)?;
            Ok(selected.read(element))
        })
    }

    fn matmul(&self, _case: &MatmulCase<'_>) -> Result<Vec<f32>, String> {
        Err("products are candle's".to_string())
    }
}
