//! Steps on cards: launched in the order of a stream, collected later. Steps of lone rows are recorded as graphs at the start
//! and played; all others are launched kernel by kernel.

use candle_core::{DType, Tensor};
use sconce_kernels::cuda::{CardSampler, FetchedDraws, Graph, StepUpload, check_launches, synchronize};
use sconce_kernels::launch::StepCounts;
use sconce_kernels::{KernelError, PlacedStep};

use super::padding::{Scratch, filler, graph_sizes, is_lone_rows, padded};
use super::{ExecutorBounds, Step, StepOutcome};
use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::llama::Llama;
use crate::sampling::{SamplingBatch, sampled};

/// Rows that candle multiplies in its kernels for few.
const FEW_ROWS: usize = 8;

/// A model on one card, or on several with a stage on each.
#[derive(Debug)]
pub(super) struct CudaExecutor {
    llama: Llama,
    cache: KvCache,
    scratch: Scratch,
    /// One for each stage.
    uploads: Vec<StepUpload>,
    sampler: CardSampler,
    draws: SamplingBatch,
    graphs: Graphs,
    /// A batch padded to the size of a graph, or with its pending tokens filled in; reused by each step.
    padded: ForwardBatch,
}

/// The recorded steps of lone rows.
#[derive(Debug, Default)]
struct Graphs {
    /// Smallest first.
    by_size: Vec<(usize, Graph)>,
    /// Where they leave their logits, `[largest size, vocab_size]`; none without graphs.
    logits: Option<Tensor>,
}

impl Graphs {
    /// The smallest that holds so many rows.
    fn for_rows(&self, rows: usize) -> Option<&(usize, Graph)> {
        self.by_size.iter().find(|(size, _)| *size >= rows)
    }
}

impl CudaExecutor {
    /// Takes the memory that steps need besides weights and cache, runs the largest step once, and records the graphs: what
    /// does not fit is known before the first request.
    pub(super) fn new(llama: Llama, cache: KvCache, bounds: ExecutorBounds) -> Result<Self, ModelError> {
        let scratch = Scratch { block: cache.scratch_block()?, block_size: cache.block_size() };
        let context = llama.config().context_length.min(bounds.max_model_len).max(1);
        check_width(&llama, bounds.max_rows)?;
        // Padding may bring more rows than the scheduler ever does.
        let rows = bounds.max_rows.max(graph_sizes(bounds.max_sequences)[0]);
        let counts = StepCounts {
            rows,
            sequences: rows,
            logits_rows: rows,
            decodes: rows,
            tiles: rows,
            table_entries: bounds.max_sequences * context.div_ceil(cache.block_size()) + rows,
        };
        let problem = || ModelError::Cache { problem: "it was allocated for the CPU".to_string() };
        let shape = llama.attention_shape(&cache).ok_or_else(problem)?;
        let upload = |device| StepUpload::new(device, counts, shape);
        let uploads = llama.stage_devices().map(upload).collect::<Result<_, _>>()?;
        let sampler = CardSampler::new(llama.devices().last(), bounds.max_sequences)?;
        let mut executor = Self {
            llama,
            cache,
            scratch,
            uploads,
            sampler,
            draws: SamplingBatch::default(),
            graphs: Graphs::default(),
            padded: ForwardBatch::default(),
        };
        executor.warm_up(bounds, context)?;
        if !bounds.enforce_eager && executor.llama.devices().as_slice().len() == 1 {
            executor.record_graphs(bounds.max_sequences)?;
        }
        Ok(executor)
    }

    pub(super) fn block_size(&self) -> usize {
        self.cache.block_size()
    }

    /// The largest step of each kind, so that whatever grows has grown: candle keeps a workspace for products of few rows and
    /// another for those of many, and moving one would leave every graph with the address of the old.
    fn warm_up(&mut self, bounds: ExecutorBounds, context: usize) -> Result<(), ModelError> {
        for rows in [bounds.max_rows, bounds.max_rows.min(FEW_ROWS)] {
            let batch = filler(rows, context, bounds.max_sequences, self.scratch);
            let placed = place(&mut self.uploads, &self.llama, &self.cache, &batch)?;
            drop(self.llama.compute(&placed, &self.cache)?);
            self.wait_for_all()?;
        }
        Ok(())
    }

    fn wait_for_all(&self) -> Result<(), ModelError> {
        self.llama.stage_devices().try_for_each(synchronize)?;
        Ok(check_launches()?)
    }

    fn record_graphs(&mut self, most: usize) -> Result<(), ModelError> {
        let sizes = graph_sizes(most);
        let device = self.llama.devices().first().clone();
        let (largest, vocabulary) = (sizes.first().copied().unwrap_or(1), self.llama.config().vocab_size);
        let logits = Tensor::zeros((largest, vocabulary), DType::F32, &device).map_err(KernelError::from)?;
        for size in sizes {
            let batch = filler(size, 1, size, self.scratch);
            let placed = place(&mut self.uploads, &self.llama, &self.cache, &batch)?;
            let compute = || -> Result<(), ModelError> {
                let computed = self.llama.compute(&placed, &self.cache)?;
                let Some(computed) = computed else { return Ok(()) };
                Ok(logits.slice_set(&computed, 0, 0).map_err(KernelError::from)?)
            };
            // Once for real: modules are loaded and workspaces have their size before anything is recorded.
            compute()?;
            self.wait_for_all()?;
            let graph = Graph::record(&device, compute)?;
            // And once from the graph: its memory is taken at the first launch, which must not be a request's.
            graph.launch()?;
            self.wait_for_all()?;
            self.graphs.by_size.push((size, graph));
        }
        self.graphs.by_size.reverse();
        self.graphs.logits = Some(logits);
        self.uploads.iter_mut().for_each(StepUpload::fix);
        tracing::debug!(sizes = ?graph_sizes(most), "CUDA graphs are recorded");
        Ok(())
    }

    /// Puts a step into the stream and begins to fetch what it draws.
    pub(super) fn launch(&mut self, step: Step<'_>) -> Result<FetchedDraws, ModelError> {
        let Self { llama, cache, scratch, uploads, sampler, draws, graphs, padded: padded_batch } = self;
        cache.copy_blocks(step.copies)?;
        let rows = step.batch.input_ids.len();
        let vocabulary = llama.config().vocab_size;
        let mut pending: Vec<[u32; 2]> = step.pending.iter().map(|pending| [pending.row, pending.draw]).collect();
        let graph = graphs.for_rows(rows).filter(|_| is_lone_rows(step.batch));
        let batch = match graph {
            Some((size, _)) => {
                padded(step.batch, *size, *scratch, padded_batch);
                &*padded_batch
            }
            // Tokens are drawn on the last card and embedded on the first, which does not reach into the memory of the last.
            None if uploads.len() > 1 && !pending.is_empty() => {
                padded_batch.clone_from(step.batch);
                sampler.resolve_on_host(&mut padded_batch.input_ids, &pending, vocabulary)?;
                pending.clear();
                &*padded_batch
            }
            None => step.batch,
        };
        let placed = place(uploads, llama, cache, batch)?;
        sampler.resolve(&placed[0].ids, &pending, vocabulary)?;
        let logits = match graph {
            Some((_, graph)) => {
                graph.launch()?;
                graphs.logits.clone()
            }
            // Nothing is launched over no rows: a card refuses a grid without blocks and an allocation without bytes.
            None if rows == 0 => None,
            None => llama.compute(&placed, cache)?,
        };
        check_launches()?;
        draws.pack(step.draws);
        Ok(sampler.draw(logits.as_ref(), draws.words(), draws.counts())?)
    }

    /// Waits for what a step has drawn.
    pub(super) fn collect(&mut self, draws: FetchedDraws) -> Result<StepOutcome, ModelError> {
        let words = self.sampler.wait(draws)?;
        Ok(sampled(words.results, words.top))
    }
}

/// Refuses steps whose widest product candle's kernels could not index.
fn check_width(llama: &Llama, rows: usize) -> Result<(), ModelError> {
    let config = llama.config();
    let widest = config.feed_forward_length.max(config.embedding_length).max(config.query_width());
    let most = i32::MAX as usize / widest.max(1);
    if rows <= most {
        return Ok(());
    }
    let problem =
        format!("steps of {rows} tokens are too wide for this model's products on a card; ask for at most {most}");
    Err(ModelError::Devices { problem })
}

/// Checks a batch and brings it to the card of every stage.
fn place<'a>(
    uploads: &mut [StepUpload],
    llama: &Llama,
    cache: &KvCache,
    batch: &'a ForwardBatch,
) -> Result<Vec<PlacedStep<'a>>, ModelError> {
    let paged = batch.check(llama.config(), cache)?;
    let batches = std::iter::repeat_n(paged, uploads.len()).zip(uploads);
    let place = |(paged, upload): (_, &mut StepUpload)| upload.place(&batch.input_ids, paged, &batch.logits_rows);
    Ok(batches.map(place).collect::<Result<_, KernelError>>()?)
}
