//! With the feature `cuda`: compiles `csrc/*.cu` with nvcc, for Hopper as a cubin and for everything from compute capability 8.0
//! on as PTX, and writes the table that the crate embeds. Without the feature it does nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// What nvcc is asked for: its option for the architecture, what it is to write, and the file's ending.
const TARGETS: [(&str, &str, &str); 2] =
    [("-arch=sm_90a", "-cubin", "sm_90a.cubin"), ("-arch=compute_80", "-ptx", "compute_80.ptx")];

/// Files whose results must have the bits of the host: no multiply-add that is not written as one.
const EXACT: &[&str] = &["sampling"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed=csrc");
    for variable in ["CUDA_HOME", "PATH", "CUDA_COMPUTE_CAP"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    // candle compiles its kernels for this capability alone; unset, it asks the card of the machine that builds.
    println!("cargo:rustc-env=CANDLE_CAPABILITY={}", env::var("CUDA_COMPUTE_CAP").unwrap_or_default());
    let nvcc = nvcc();
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let mut sources: Vec<PathBuf> = fs::read_dir("csrc")
        .expect("the kernels' sources")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .collect();
    sources.sort();
    let jobs: Vec<_> = sources.iter().flat_map(|source| TARGETS.iter().map(move |target| (source, target))).collect();
    let workers = thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (jobs, nvcc, folder) = (&jobs, &nvcc, &folder);
            scope.spawn(move || {
                for (source, target) in jobs.iter().skip(worker).step_by(workers) {
                    compile(nvcc, source, target, folder);
                }
            });
        }
    });
    let entry = |source: &PathBuf| {
        let name = stem(source);
        format!(
            "    Module {{ name: {name:?}, cubin: include_bytes!({:?}), ptx: include_str!({:?}) }},\n",
            folder.join(format!("{name}.sm_90a.cubin")),
            folder.join(format!("{name}.compute_80.ptx"))
        )
    };
    let table: String = sources.iter().map(entry).collect();
    fs::write(folder.join("modules.rs"), format!("&[\n{table}]\n")).expect("the build folder is writable");
}

fn stem(source: &Path) -> String {
    source.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// The compiler of the toolkit that `CUDA_HOME` names, or the one on the path.
fn nvcc() -> OsString {
    let from_home = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin").join("nvcc"));
    from_home.filter(|path| path.exists()).map_or_else(|| "nvcc".into(), PathBuf::into_os_string)
}

fn compile(nvcc: &OsString, source: &Path, (architecture, kind, ending): &(&str, &str, &str), folder: &Path) {
    let name = stem(source);
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", architecture, kind]);
    if EXACT.contains(&name.as_str()) {
        command.arg("-fmad=false");
    }
    command.arg("-o").arg(folder.join(format!("{name}.{ending}"))).arg(source);
    let status = command.status().unwrap_or_else(|error| {
        panic!(
            "nvcc cannot be run ({error}); install a toolkit with scripts/cuda_toolkit.sh and evaluate what it prints"
        )
    });
    assert!(status.success(), "nvcc refused {}", source.display());
}
