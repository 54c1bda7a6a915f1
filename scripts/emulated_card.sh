#!/usr/bin/env bash
# Runs a command with an emulated card in the place of a real one: the driver, cuBLAS, cuRAND and the CUDA runtime are small
# libraries that run everything on the host (crates/emulator/card). No card and no driver are needed; candle's kernels for quantized
# weights are not emulated.
#
#   scripts/emulated_card.sh cargo test --features cuda -p sconce-model --test card
#
# SCONCE_EMULATED_CARDS (1), SCONCE_EMULATED_MEMORY (bytes of each, 1 GiB), SCONCE_EMULATED_MULTIPROCESSORS (132),
# SCONCE_EMULATED_CAPABILITY (90), SCONCE_EMULATED_SEED (1: when queued work runs and in which order its threads),
# SCONCE_EMULATED_FAULT (the launch that faults, counted from 1).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/emulated-card
sources=$root/crates/emulator/card
environment=$("$root/scripts/cuda_toolkit.sh")
eval "$environment"

flags=(-std=c++17 -O2 -g -fPIC -shared -pthread -ffp-contract=off -U_FORTIFY_SOURCE -Wall -Wextra -I"$CUDA_HOME/include"
    -I"$root/crates/kernels/csrc" -I"$root/crates/emulator/cpp")

# One library: its name, its version's name or none, what it exports, its sources.
library() {
    local name=$1 version=$2 exports=$3
    shift 3
    printf '%s { global: %s; local: *; };\n' "$version" "$exports" >"$out/$name.map"
    g++ "${flags[@]}" -Wl,-soname,"$name" -Wl,--version-script="$out/$name.map" -o "$out/$name.part" "$@"
    mv "$out/$name.part" "$out/$name"
}

build() {
    mkdir -p "$out"
    rm -f "$out/built"
    # The emulator and every kernel are one unit: each kernel registers itself there.
    { printf '#include "emulator.cpp"\n'
        for file in "$root"/crates/kernels/csrc/*.cu; do printf '#include "%s"\n' "$(basename "$file")"; done
    } >"$out/kernels.cpp"
    # A card faults on a vector at an address that is not a multiple of its size; so does this.
    g++ "${flags[@]/-shared/-c}" -fsanitize=alignment -fsanitize-undefined-trap-on-error -o "$out/kernels.o" "$out/kernels.cpp"
    library libcuda.so.1 '' 'cu*; sconce_card_*' "$sources"/{state,device,fault,memory,copies,stream,graph,image,modules,candle}.cpp \
        "$out/kernels.o"
    library libcublas.so.13 libcublas.so.13 'cublas*' "$sources/cublas.cpp" "$out/libcuda.so.1"
    library libcudart.so.13 libcudart.so.13 'cuda*; __cuda*' "$sources/cudart.cpp"
    library libcurand.so.10 libcurand.so.10 'curand*' "$sources/curand.cpp"
    touch "$out/built"
}

# Only when something has changed since.
newer() { find "$sources" "$root/crates/emulator/cpp" "$root/crates/kernels/csrc" "$0" -newer "$out/built" | grep -q .; }
if [ ! -e "$out/built" ] || newer; then build >&2; fi

export SCONCE_EMULATED_CARDS=${SCONCE_EMULATED_CARDS:-1}
export LD_LIBRARY_PATH=$out${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
