//! What the command line says. Ranges are checked here, so that no command checks them again.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use sconce_engine::{KvCacheDtype, UTILIZATION_RANGE};
use sconce_model::synth::{NamedShape, Quantization, SynthError};

use crate::bench::args::{BenchAgreeArguments, BenchCardArguments, BenchKernelsArguments, BenchTableArguments};
use crate::demo::{self, ModelChoice};
use crate::devices::{DEFAULT_DEVICES, DeviceList};
use crate::pull::{model_choice, model_path};
use crate::size::Bytes;

/// Serves GGUF models in batches from a paged KV cache, and answers questions about role documents with citations.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Start with `sconce serve`, then open the address that it prints. RUST_LOG=debug says more."
)]
pub(crate) struct Arguments {
    /// Threads that compute on the CPU, 1 to 1024 [default: one for each physical core]. Fewer leave room for other programs.
    /// Weights of Q2_K and Q3_K have threads of their own, which CANDLE_NUM_THREADS counts.
    #[arg(long, global = true, env = "SCONCE_THREADS", value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print at the end where the time of the engine's steps went, part by part. Of a server, when it was told to stop. What a command
    /// computes without an engine, such as the perplexity of `verify`, is not counted.
    #[arg(long, global = true)]
    pub(crate) profile: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the OpenAI-compatible API: generation, documents, search and cited answers.
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArguments),
    /// Answer one question from the ingested documents, with citations.
    #[command(after_help = "Example: sconce ask \"What does an AI Solutions Architect do?\"")]
    Ask(AskArguments),
    /// Read a folder of role documents (Markdown, text, HTML) into the document store.
    #[command(
        after_help = "Example: sconce ingest ~/roles\nUnchanged files are passed over; a changed file replaces its old version."
    )]
    Ingest(IngestArguments),
    /// Tell from a model's header what it takes in memory, and how many tokens and sequences fit beside it.
    #[command(after_help = PLAN_HELP)]
    Plan(PlanArguments),
    /// Download a model from a Hugging Face repository into the cache that its other tools share.
    #[command(after_help = PULL_HELP)]
    Pull(PullArguments),
    /// Write a GGUF file with random weights of a named shape, to measure speed without a download.
    #[command(after_help = "Example: sconce synth --shape llama-1.1b --quantization q4_k_m /tmp/llama-1.1b.gguf")]
    Synth(SynthArguments),
    /// Convert a safetensors folder or a GGUF file to a GGUF file with weights of another type.
    #[command(after_help = "Example: sconce quantize ~/Llama-3.2-1B llama.gguf --type q4_k_m")]
    Quantize(QuantizeArguments),
    /// Check a model: file, weights, tokenizer, template, logits, known answers; a report to paste into an issue.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArguments),
    /// Measure: a device, a model in this process, or any OpenAI-compatible server.
    Bench(BenchArguments),
}

const SERVE_HELP: &str = "\
Examples:
  sconce serve                                    the sample documents and the demo model that travels in this program
  sconce serve --model model.gguf                 any GGUF file or folder of safetensors
  sconce serve --model none                       search and quoted answers only
  sconce serve --model model.gguf --kv-memory 4GiB --max-num-seqs 64
  sconce serve --model model.gguf --devices 0,1   its layers on two CUDA devices (a build with --features cuda)
  sconce serve --model model.gguf --kv-quota acme=0.5   half the KV cache for requests with cache_salt \"acme\"

Exit status: 0 after a drain; 1 when it cannot start, or the engine has ended by itself; 2 when an option is
wrong, such as the name of no model; 74 when the device is lost. With 1 and 74 a supervisor may start it again.";

const VERIFY_HELP: &str = "\
Examples:
  sconce verify model.gguf                  every check that this machine can make
  sconce verify model.gguf --devices 0      on a CUDA device, and against the CPU
  sconce verify model.gguf --text pages.md  with the perplexity over a text of yours
  sconce verify model.gguf --json           for machines

The file's bytes are checked as well where pull recorded their hash, or a file model.gguf.sha256 lies beside the model, as
sha256sum writes it. Exit status: 0 when nothing failed, 1 otherwise.";

/// Which model is checked, and where.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// GGUF file, folder of safetensors, or the name of a pulled model.
    #[arg(value_parser = model_path)]
    pub(crate) model: PathBuf,
    /// Where the model lies: cpu, or CUDA devices by number; a CUDA device is compared with the CPU.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_DEVICES)]
    pub(crate) devices: DeviceList,
    #[command(flatten)]
    pub(crate) template: TemplateArguments,
    /// Text whose perplexity is told, read in windows of 512 tokens; at most 16 MiB [default: the beginning of a sample document].
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Convert the matrices to this type while they are loaded, such as q8_0 or q4_k [default: as they are in the file].
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = one_of::<Quantization>(Quantization::ALL.map(Quantization::name)))]
    pub(crate) quantize: Option<Quantization>,
    /// Element type of the KV cache that it is read with; auto is f32 on the CPU and bf16 on CUDA devices, so that no fault is the
    /// cache's.
    #[arg(long, value_enum, default_value_t = KvDtype::Auto)]
    pub(crate) kv_cache_dtype: KvDtype,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const PLAN_HELP: &str = "\
Examples:
  sconce plan model.gguf                    on this machine as it is now
  sconce plan model.gguf --memory 16GiB     on another one
  sconce plan model.gguf --max-model-len 8192 --max-num-seqs 16 --json

Nothing is loaded. `sconce serve` with the same options takes the same plan, and is refused when this is: exit status 1.";

/// What a plan is asked for; the other options are those of `serve`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// GGUF file, folder of safetensors, or the name of a pulled model; it wins over --model and SCONCE_MODEL.
    #[arg(value_parser = model_path)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) batch: BatchArguments,
    /// Memory that may be taken, such as 16GiB [default: what this machine has available, on CUDA what the device has].
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Print the plan as JSON, in bytes.
    #[arg(long)]
    pub(crate) json: bool,
}

const PULL_HELP: &str = "\
Examples:
  sconce pull llama-3.2-1b-instruct         a model of the catalog, models/catalog.toml
  sconce pull org/name                      Q4_K_M of a GGUF repository, or a safetensors model
  sconce pull org/name:Q8_0                 another of its GGUF models, by a word or a file's name, all its parts
  sconce pull --check                       hash everything that was pulled, and compare
  sconce serve --model llama-3.2-1b-instruct

A download that was cut goes on where it stopped. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count, and
the token file of a login.";

/// What is pulled, and how patiently.
#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// Name of the catalog, or a repository: org/name, or org/name:FILE-or-quantization.
    #[arg(value_name = "NAME|REPO[:FILE]")]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit of the repository [default: main].
    #[arg(long, value_name = "REVISION", conflicts_with = "check")]
    pub(crate) revision: Option<String>,
    /// Compare pulled files with the hashes that were recorded; without a name, all of them. Exits with 1 when one differs.
    #[arg(long)]
    pub(crate) check: bool,
    /// Seconds to wait for a connection and for each read.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// Further tries when one brings nothing.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(0..=100))]
    pub(crate) retries: u32,
}

/// Where the documents are.
#[derive(Debug, Args)]
pub(crate) struct LibraryArguments {
    /// Folder of the document store [default: the XDG data folder, such as ~/.local/share/sconce].
    #[arg(long, env = "SCONCE_HOME", value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Which model, and how much memory it may take.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// GGUF file of a model, any part of a split one, a folder with config.json and safetensors, the name or repository of a
    /// model that `sconce pull` has fetched, or none [default: of serve and ask sconce-demo, a small model that travels inside this
    /// program and knows nothing but to answer questions about roles from passages].
    #[arg(long, env = "SCONCE_MODEL", value_name = "FILE|NAME|none", value_parser = model_choice)]
    pub(crate) model: Option<ModelChoice>,
    /// Convert the matrices to this type while they are loaded, such as q8_0 or q4_k [default: as they are in the file].
    #[arg(long, value_name = "TYPE", ignore_case = true, value_parser = one_of::<Quantization>(Quantization::ALL.map(Quantization::name)))]
    pub(crate) quantize: Option<Quantization>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
    /// Memory for the KV cache, such as 512MiB or 4GiB [default: on the CPU enough for all contexts that run at once, at most
    /// 1GiB; on CUDA devices all that --gpu-memory-utilization leaves].
    #[arg(long, value_name = "SIZE")]
    pub(crate) kv_memory: Option<Bytes>,
    /// Element type of the KV cache; auto is f16 on the CPU and bf16 on CUDA devices. q8_0 holds nearly twice the tokens of f16, on
    /// the CPU only, for models whose heads are a multiple of 32 long.
    #[arg(long, value_enum, default_value_t = KvDtype::Auto)]
    pub(crate) kv_cache_dtype: KvDtype,
    /// Tokens per KV block, 1 to 1024.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) block_size: u16,
    /// Longest sequence in tokens, prompt and answer, at least 2; a shorter one leaves the KV cache room for more of them [default: the model's context].
    #[arg(long, value_parser = value_parser!(u32).range(2..))]
    pub(crate) max_model_len: Option<u32>,
}

impl ModelArguments {
    /// The file or folder that was named.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.model.as_ref().and_then(ModelChoice::path)
    }

    /// Takes the demo model where nothing was said; none where its file cannot be written, which is said.
    pub(crate) fn or_demo(&mut self) {
        if self.model.is_none() {
            self.model = Some(demo::path().map_or_else(
                |error| {
                    tracing::warn!("without a model, since the demo model cannot be put anywhere: {error}");
                    ModelChoice::Nothing
                },
                ModelChoice::Demo,
            ));
        }
    }

    /// Whether the demo model was named, or taken because none was.
    pub(crate) fn is_demo(&self) -> bool {
        matches!(self.model, Some(ModelChoice::Demo(_)))
    }
}

/// Where the model lies, and how it is computed there.
#[derive(Debug, Args)]
pub(crate) struct DeviceArguments {
    /// Where the model lies: cpu, or CUDA devices by number, such as 0 or 0,1; several share its layers between them.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_DEVICES)]
    pub(crate) devices: DeviceList,
    /// Share of each CUDA device's memory that weights, activations and the KV cache may take together, 0.05 to 0.98. What a
    /// step needs is set apart first; lower it when other programs use the device.
    #[arg(long, value_name = "SHARE", default_value_t = 0.90, value_parser = utilization)]
    pub(crate) gpu_memory_utilization: f64,
    /// Element type of activations; auto is f32 on the CPU, which knows no other, and bf16 on CUDA devices. With f32 a CUDA
    /// device is slower, and closer to the CPU's results.
    #[arg(long, value_enum, default_value_t = ActivationDtype::Auto)]
    pub(crate) dtype: ActivationDtype,
    /// Launch every step kernel by kernel instead of replaying CUDA graphs: slower, for finding faults.
    #[arg(long)]
    pub(crate) enforce_eager: bool,
}

/// How turns of a conversation become a prompt.
#[derive(Debug, Args)]
pub(crate) struct TemplateArguments {
    /// Jinja chat template instead of the file's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
}

/// How sequences share steps.
#[derive(Debug, Args)]
pub(crate) struct BatchArguments {
    /// Sequences that run at once, 1 to 4096 [default: 32 on the CPU, 128 on CUDA devices].
    #[arg(long, value_parser = value_parser!(u16).range(1..=4096))]
    pub(crate) max_num_seqs: Option<u16>,
    /// Tokens in one step, 1 to 1048576: bounds the memory of its activations [default: 512 on the CPU, 4096 on CUDA devices].
    #[arg(long, value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub(crate) max_num_batched_tokens: Option<u32>,
    /// What a step should take while somebody waits for a next token, in milliseconds, 1 to 60000: bounds the chunks of
    /// prompts [default: 250 on the CPU, 50 on CUDA devices].
    #[arg(long, value_parser = value_parser!(u32).range(1..=60_000))]
    pub(crate) step_target_ms: Option<u32>,
    /// Steps planned while one runs, 0 or 1 [default: 0 on the CPU, 1 on CUDA devices].
    #[arg(long, value_parser = value_parser!(u8).range(0..=1))]
    pub(crate) pipeline_depth: Option<u8>,
}

/// What the clients of a server get of the model.
#[derive(Debug, Args)]
pub(crate) struct ServingArguments {
    /// Id under which the model is served [default: the file's name without .gguf].
    #[arg(long, value_name = "ID")]
    pub(crate) model_id: Option<String>,
    /// Share of the KV cache that only requests with this cache_salt use, as NAME=SHARE; may be repeated.
    #[arg(long, value_name = "NAME=SHARE", value_parser = quota)]
    pub(crate) kv_quota: Vec<(String, f64)>,
    /// Keep document context in the KV cache before everything else.
    #[arg(long)]
    pub(crate) pin_documents: bool,
    /// Requests in the engine at once, waiting ones included; more get a 429 at once.
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u16).range(1..))]
    pub(crate) max_requests: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KvDtype {
    Auto,
    F16,
    Bf16,
    F32,
    #[value(name = "q8_0")]
    Q8_0,
}

impl KvDtype {
    /// The type that was named, or this one.
    pub(crate) fn or(self, auto: KvCacheDtype) -> KvCacheDtype {
        match self {
            Self::Auto => auto,
            Self::F16 => KvCacheDtype::F16,
            Self::Bf16 => KvCacheDtype::Bf16,
            Self::F32 => KvCacheDtype::F32,
            Self::Q8_0 => KvCacheDtype::Q8_0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActivationDtype {
    Auto,
    F32,
    Bf16,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) library: LibraryArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) template: TemplateArguments,
    #[command(flatten)]
    pub(crate) batch: BatchArguments,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
    /// Address to listen on; 0.0.0.0 for every network.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Ask clients for this key (Authorization: Bearer …).
    #[arg(long, env = "SCONCE_API_KEY", hide_env_values = true, value_name = "KEY", value_parser = api_key)]
    pub(crate) api_key: Option<String>,
    /// Another name under which clients without a key may call, such as a container's; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Let web pages of other origins call.
    #[arg(long)]
    pub(crate) cors: bool,
    /// Leave the document store without the sample documents that a first start adds, from now on.
    #[arg(long)]
    pub(crate) no_sample_corpus: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The question.
    pub(crate) question: String,
    #[command(flatten)]
    pub(crate) library: LibraryArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) template: TemplateArguments,
    /// Tokens of the model's answer at most [default: 256].
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// Only documents of this vector store, by name or id [default: all].
    #[arg(long, value_name = "NAME")]
    pub(crate) store: Option<String>,
    /// Print the answer with its citations as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IngestArguments {
    /// Folder to read.
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) library: LibraryArguments,
    /// Vector store to add to, by name or id; made if there is none of that name.
    #[arg(long, default_value = "roles", value_name = "NAME")]
    pub(crate) store: String,
}

#[derive(Debug, Args)]
pub(crate) struct SynthArguments {
    /// File to write; one that `sconce synth` wrote before is replaced.
    pub(crate) file: PathBuf,
    /// Replace the file whatever it is.
    #[arg(long)]
    pub(crate) force: bool,
    /// Shape of the model.
    #[arg(long, default_value = "llama-1.1b", ignore_case = true, value_parser = one_of::<NamedShape>(NamedShape::ALL.map(NamedShape::name)))]
    pub(crate) shape: NamedShape,
    /// Type of the weights; the mixes q4_k_m and q5_k_m are llama.cpp's.
    #[arg(long, default_value = "q4_k_m", ignore_case = true, value_parser = one_of::<Quantization>(Quantization::ALL.map(Quantization::name)))]
    pub(crate) quantization: Quantization,
    /// Context length in tokens [default: the shape's].
    #[arg(long, value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub(crate) context: Option<u32>,
    /// The same seed writes the same file.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct QuantizeArguments {
    /// Folder with config.json and safetensors, a GGUF file (any part of a split one), or the name of a pulled model.
    #[arg(value_parser = model_path)]
    pub(crate) input: PathBuf,
    /// GGUF file to write.
    pub(crate) output: PathBuf,
    /// Type of the matrices; norms and other vectors are F32. Rows that are no whole blocks of it get q8_0, or f16.
    #[arg(long = "type", value_name = "TYPE", ignore_case = true, value_parser = one_of::<Quantization>(Quantization::ALL.map(Quantization::name)))]
    pub(crate) quantization: Quantization,
    /// Replace the output if it exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// What a device is, and its measured rates of copies and of a large matrix product.
    Card(BenchCardArguments),
    /// Every operation on a device against its scalar reference; exits with 1 when one does not agree.
    Kernels(BenchKernelsArguments),
    /// A model on a device against the CPU, a batch against its rows, graphs against eager steps, equal seeds; exits with 1
    /// when one does not agree.
    Agree(BenchAgreeArguments),
    /// The table of figures of a model in this process: streams, prompts, long and shared contexts, beside what the device
    /// does at best.
    #[command(after_help = "Example: sconce bench table --model model.gguf --out table.json")]
    Table(BenchTableArguments),
    /// Prompt and decode rates of a model in this process, over batch sizes.
    #[command(after_help = "Example: sconce bench model --model model.gguf --streams 1,8,16 --out model.json")]
    Model(BenchModelArguments),
    /// Put a workload on any OpenAI-compatible server.
    #[command(
        after_help = "Example: sconce bench serve http://127.0.0.1:8080 benches/workloads/shared-8x960.toml --out shared.json"
    )]
    Serve(BenchServeArguments),
    /// Compare two results of the same workload.
    Compare(CompareArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BenchModelArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) batch: BatchArguments,
    /// Prompt lengths to time.
    #[arg(long, value_delimiter = ',', default_value = "512", value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub(crate) prompts: Vec<u32>,
    /// Numbers of streams to decode at once; at most max-num-seqs each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16", value_parser = value_parser!(u32).range(1..=4096))]
    pub(crate) streams: Vec<u32>,
    /// Tokens that each stream decodes.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(2..=1 << 16))]
    pub(crate) tokens: u32,
    /// Prompt of each stream, in tokens.
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub(crate) stream_prompt: u32,
    /// Times each is measured; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) repeat: u32,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchServeArguments {
    /// Base address of the server, such as http://127.0.0.1:8080.
    pub(crate) url: String,
    /// Workload file; see benches/workloads.
    pub(crate) workload: PathBuf,
    /// Model to ask for [default: the first that the server lists].
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Sent as Authorization: Bearer.
    #[arg(long, env = "SCONCE_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Send the same prompts again in every run; by default they differ, so that no run finds a warm cache.
    #[arg(long)]
    pub(crate) nonce: Option<u64>,
    /// Also write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The report to compare.
    pub(crate) report: PathBuf,
    /// The report to compare it with.
    pub(crate) peer: PathBuf,
}

/// Names that the help lists, and the error when another is given.
fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = SynthError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// A header carries it, so it must be printable ASCII; an empty one would lock everybody out.
fn api_key(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("the key must be printable ASCII without spaces, and not empty".into()) }
}

fn utilization(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if UTILIZATION_RANGE.contains(&share) {
        return Ok(share);
    }
    Err(format!("must be {} to {}", UTILIZATION_RANGE.start(), UTILIZATION_RANGE.end()))
}

fn quota(text: &str) -> Result<(String, f64), String> {
    let (name, share) = text.split_once('=').ok_or("expected NAME=SHARE, such as acme=0.5")?;
    let share: f64 = share.parse().map_err(|_| format!("{share:?} is no number"))?;
    if name.is_empty() || !(share > 0.0 && share < 1.0) {
        return Err("the name must not be empty, and the share must be above 0 and below 1".into());
    }
    Ok((name.to_owned(), share))
}
