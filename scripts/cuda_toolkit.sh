#!/usr/bin/env bash
# Installs what compiles the CUDA build, from the wheels that NVIDIA publishes on PyPI: nvcc, its headers, cuBLAS, cuRAND,
# NVRTC, and a stub in the driver's place. No card, no root and no driver are needed. The folder is made once and found again.
#
#   eval "$(scripts/cuda_toolkit.sh)"                 # installs on the first call, then sets the environment
#   cargo build --release --features cuda
#
# SCONCE_CUDA_TOOLKIT names another folder. A CUDA toolkit of your own works as well: set CUDA_HOME and build.
set -euo pipefail

folder=${SCONCE_CUDA_TOOLKIT:-${XDG_CACHE_HOME:-$HOME/.cache}/sconce/cuda-13.0}
root=$folder/nvidia/cu13
wheels=(
    nvidia-cuda-nvcc==13.0.88      # nvcc, ptxas
    nvidia-cuda-crt==13.0.88       # the headers that nvcc includes by itself
    nvidia-nvvm==13.0.88           # its optimizer
    nvidia-cuda-runtime==13.0.96   # cuda_runtime.h; candle's own kernels link it
    nvidia-cuda-nvrtc==13.0.88     # cudarc links it
    nvidia-cuda-cccl==13.0.85      # the C++ headers under cuda_fp16.h and candle's kernels
    nvidia-cublas==13.1.0.3        # cudarc links it
    nvidia-curand==10.4.0.35       # cudarc links it
)

say() { printf '%s\n' "$*" >&2; }

install() {
    local stage=$folder.part
    command -v python3 >/dev/null || { say "cuda_toolkit.sh needs python3 with pip, to download the wheels"; exit 1; }
    rm -rf "$stage"
    mkdir -p "$stage/wheels"
    say "Installing the CUDA toolkit into $folder (about 1.4 GB; once)"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$stage/wheels" "${wheels[@]}" >&2
    local wheel
    for wheel in "$stage"/wheels/*.whl; do
        python3 -m zipfile -e "$wheel" "$stage"
        rm "$wheel"
    done
    arrange "$stage/nvidia/cu13"
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    mv "$stage" "$folder"
}

# The wheels have neither execute bits nor the names without versions that a linker looks for.
arrange() {
    local root=$1 library versioned
    chmod +x "$root"/bin/* "$root"/nvvm/bin/*
    ln -sfn lib "$root/lib64"
    for library in cublas cublasLt cudart curand nvrtc; do
        versioned=$(cd "$root/lib" && ls "lib$library".so.* | head -n 1)
        ln -sf "$versioned" "$root/lib/lib$library.so"
    done
    stub_driver "$root"
}

# The driver comes with a card. To link without one, an empty function stands for each that its header declares.
stub_driver() {
    local root=$1
    mkdir -p "$root/lib/stubs"
    cc -E -P -I"$root/include" -x c "$root/include/cuda.h" | tr '\n' ' ' | tr ';' '\n' |
        sed -nE 's/^.*CUresult +(cu[A-Z][A-Za-z0-9_]*) *\(.*$/void \1(void) {}/p' | sort -u >"$root/lib/stubs/libcuda.c"
    cc -shared -Wl,-soname,libcuda.so.1 -o "$root/lib/stubs/libcuda.so" "$root/lib/stubs/libcuda.c"
}

[ -x "$root/bin/nvcc" ] && [ -e "$root/lib/stubs/libcuda.so" ] || install
"$root/bin/nvcc" --version | tail -n 2 | head -n 1 >&2

# candle's kernels are built for one capability (CUDA_COMPUTE_CAP, 90: Hopper); a release is built once for each.
cat <<ENVIRONMENT
export CUDA_HOME='$root' CUDA_PATH='$root' CUDA_ROOT='$root' CUDA_TOOLKIT_ROOT_DIR='$root'
export PATH='$root/bin':"\$PATH"
export CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000
ENVIRONMENT
