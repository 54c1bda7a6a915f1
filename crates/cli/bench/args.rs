//! The options of the measurements that prove and time a device.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use crate::args::{ActivationDtype, BatchArguments, ModelArguments};
use crate::devices::{DEFAULT_DEVICES, DeviceList};
use crate::pull::model_path;

#[derive(Debug, Args)]
pub(crate) struct BenchCardArguments {
    /// Devices: cpu, or CUDA devices by number, such as 0 or 0,1.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_DEVICES)]
    pub(crate) devices: DeviceList,
    /// Small sizes: a second at most, and figures that say little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also write the facts as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchKernelsArguments {
    /// Devices: cpu, or CUDA devices by number, such as 0 or 0,1.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_DEVICES)]
    pub(crate) devices: DeviceList,
    /// Operations to check [default: all].
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub(crate) operations: Vec<String>,
    /// Seed of the inputs, to repeat a run [default: a new one each time, which is printed].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Also write the findings as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What `bench agree` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AgreeCheck {
    /// The device's logits with the CPU's.
    Cpu,
    /// A batch with its rows, chunks with the whole, a warm prefix with a cold one.
    Batch,
    /// Recorded graphs with eager launches, through the engine.
    Graphs,
    /// Equal seeds, other seeds, and a pipelined step with one that is not, through the engine.
    Seeds,
}

#[derive(Debug, Args)]
pub(crate) struct BenchAgreeArguments {
    /// GGUF file, folder of safetensors, or the name of a pulled model.
    #[arg(long, env = "SCONCE_MODEL", value_name = "FILE", value_parser = model_path)]
    pub(crate) model: PathBuf,
    /// Devices: cpu, or CUDA devices by number, such as 0 or 0,1.
    #[arg(long, value_name = "LIST", default_value = DEFAULT_DEVICES)]
    pub(crate) devices: DeviceList,
    /// Element types of activations, one after another [default: f32 on the CPU, f32 and bf16 on CUDA devices].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub(crate) dtype: Vec<ActivationDtype>,
    /// Lengths of the random prompts; those beyond the model's context are left out.
    #[arg(long, value_delimiter = ',', default_value = "1,7,33,128,400", value_parser = value_parser!(u32).range(1..=1 << 16))]
    pub(crate) prompts: Vec<u32>,
    /// What to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cpu,batch,graphs,seeds", value_name = "LIST")]
    pub(crate) checks: Vec<AgreeCheck>,
    /// Seed of the prompts, to repeat a run [default: a new one each time, which is printed].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Also write the findings as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchTableArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) batch: BatchArguments,
    /// Tiny sizes, to see that everything runs.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seconds after which no more rows are begun; they are said to be left out.
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) time_limit: u32,
    /// Also write the figures as JSON, after each row.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
