#!/usr/bin/env bash
# Proves and measures a built binary on a card, in under 8 minutes and without a network.
#
#   scripts/gpu_suite.sh BINARY [OUT_FOLDER]             facts, proofs, figures; peers if time is left
#   scripts/gpu_suite.sh --peers BINARY [OUT_FOLDER]     only llama.cpp and transformers, on the same shapes
#   scripts/gpu_suite.sh --rehearse BINARY [OUT_FOLDER]  the same parts on the CPU, tiny, without peers
#
# Each part leaves NAME.md, NAME.log and mostly NAME.json in the folder (gpu-suite); summary.md has all of them. What does not
# fit into the time is left out, and said. Exit status: 0 when every proof held, 1 when one did not or could not be had.
#
#   SUITE_BUDGET_S   seconds in all (470)            SUITE_DEVICES    of --devices (0)
#   SUITE_SCRATCH    folder for model files (a new one; 10 GB)
#   STORIES_GGUF     a small trained model for the first proof; else models/stories260K.gguf of SCONCE_DATA
#   LLAMA_CPP_SDIST  tarball of llama-cpp-python: its llama.cpp is built for the card
#   LLAMA_CPP_BUILD  folder of that build, kept and found again (SUITE_SCRATCH/llama.cpp)
set -euo pipefail

scripts=$(cd "$(dirname "$0")" && pwd)
mode=suite
case ${1:-} in
--rehearse | --peers)
    mode=${1#--}
    shift
    ;;
esac
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
if [ ! -x "$1" ]; then
    echo "$1 is no program; name the built binary, such as target/release/sconce" >&2
    exit 2
fi
binary=$(realpath "$1")
out=${2:-gpu-suite}
mkdir -p "$out"
out=$(realpath "$out")
if [ "$mode" = rehearse ]; then
    devices=cpu
    budget=${SUITE_BUDGET_S:-110}
else
    devices=${SUITE_DEVICES:-0}
    budget=${SUITE_BUDGET_S:-470}
fi
# What the caller's shell sets for a server of its own must not change the measurements here.
unset SCONCE_MODEL SCONCE_API_KEY
export SCONCE_HOME="$out/home" RUST_LOG="${RUST_LOG:-warn}"

scratch=${SUITE_SCRATCH:-}
if [ -z "$scratch" ]; then
    scratch=$(mktemp -d)
    own_scratch=$scratch
fi
mkdir -p "$scratch"

outcomes=()
parts=()
unproven=0

say() { printf '%s\n' "$*" >&2; }

# Written after each part, so that a run that is cut short leaves what it found.
summarize() {
    local row name
    {
        printf '# Sconce on %s, %s\n\n' "$devices" "$mode"
        printf 'Binary: %s. %d of %d s.\n\n' "$("$binary" --version)" "$SECONDS" "$budget"
        printf '| part | kind | outcome | seconds |\n| --- | --- | --- | ---: |\n'
        for row in "${outcomes[@]}"; do printf '%s\n' "$row"; done
        for name in "${parts[@]}"; do
            printf '\n## %s\n\n' "$name"
            case $name in
            # Indented by four, JSON stays as it is.
            card*) sed 's/^/    /' "$out/$name.md" ;;
            *) cat "$out/$name.md" ;;
            esac
        done
    } >"$out/summary.md"
}

finish() {
    rm -rf "${out:?}/home"
    if [ -n "${own_scratch:-}" ]; then rm -rf "$own_scratch"; fi
}
trap finish EXIT

record() {
    local name=$1 kind=$2 outcome=$3 seconds=$4
    outcomes+=("| $name | $kind | $outcome | $seconds |")
    say "$name: $outcome ($seconds s; $((budget - SECONDS)) s left)"
    case $kind,$outcome in
    proof,passed) ;;
    proof,*) unproven=$((unproven + 1)) ;;
    esac
    summarize
}

# part NAME KIND LIMIT LEAST COMMAND…: runs a command for at most LIMIT seconds, if LEAST are left. KIND is proof, figures or
# preparation; @SECONDS@ in an argument stands for the seconds that the command may plan with. Fails when the command did.
part() {
    local name=$1 kind=$2 limit=$3 least=$4 left=$((budget - SECONDS)) began=$SECONDS status=0 outcome
    shift 4
    if [ "$left" -lt "$least" ]; then
        record "$name" "$kind" "skipped: $left s are left, it takes $least" 0
        return 1
    fi
    if [ "$limit" -gt "$left" ]; then limit=$left; fi
    timeout --kill-after=5 "$limit" "${@//@SECONDS@/$((limit > 20 ? limit - 10 : limit))}" \
        >"$out/$name.md" 2>"$out/$name.log" </dev/null || status=$?
    case $status in
    0) outcome=passed ;;
    124 | 137) outcome="timed out after $limit s" ;;
    *) outcome="FAILED with $status: $(tail -n 1 "$out/$name.log" | tr '|' '/')" ;;
    esac
    parts+=("$name")
    record "$name" "$kind" "$outcome" $((SECONDS - began))
    return "$status"
}

missing() {
    record "$1" "$2" "skipped: $3" 0
}

# model SHAPE QUANTIZATION LEAST: writes a file and sets $file; the one before is removed, since a card's machine may be small.
file=
model() {
    local shape=$1 quantization=$2 least=$3
    if [ -n "$file" ]; then rm -f "$file"; fi
    file=$scratch/$shape-$quantization.gguf
    part "synth-$shape-$quantization" preparation 60 "$least" \
        "$binary" synth --force --shape "$shape" --quantization "$quantization" "$file"
}

agree() {
    local name=$1 limit=$2 least=$3
    shift 3
    part "$name" proof "$limit" "$least" \
        "$binary" bench agree --devices "$devices" --out "$out/$name.json" "$@" || true
}

table() {
    local name=$1 limit=$2 least=$3
    shift 3
    part "$name" figures "$limit" "$least" \
        "$binary" bench table --devices "$devices" --model "$file" --time-limit @SECONDS@ --out "$out/$name.json" "$@" || true
}

# cuBLAS, cudart, cuRAND and NVRTC lie in the folders of Python packages where no toolkit is installed.
find_libraries() {
    local folders absent
    folders=$(python3 - <<'PYTHON' || true
import importlib.util
import pathlib

spec = importlib.util.find_spec("nvidia")
roots = spec.submodule_search_locations if spec else []
folders = [pathlib.Path(root) / "cu13" / "lib" for root in roots]
print(":".join(str(folder) for folder in folders if folder.is_dir()))
PYTHON
    )
    export LD_LIBRARY_PATH="${folders}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    absent=$(ldd "$binary" | sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p' | tr '\n' ' ')
    if [ -n "$absent" ]; then
        say "not found, neither in the system nor under Python's nvidia/cu13/lib: $absent"
        exit 1
    fi
}

stories() {
    local found=${STORIES_GGUF:-${SCONCE_DATA:+$SCONCE_DATA/models/stories260K.gguf}}
    if [ -n "$found" ] && [ -f "$found" ]; then printf '%s' "$found"; fi
}

prove_and_measure() {
    local trained
    trained=$(stories)
    part card proof 60 5 "$binary" bench card --devices "$devices" --out "$out/card.json" || true
    part kernels proof 90 10 "$binary" bench kernels --devices "$devices" --out "$out/kernels.json" || true
    if [ -n "$trained" ]; then
        agree agree-stories 45 10 --model "$trained"
    else
        missing agree-stories figures "no trained model is at hand (STORIES_GGUF); it is optional"
    fi
    if model llama-1.1b f32 25; then
        agree agree-1.1b-f32 60 15 --model "$file" --dtype f32 --prompts 1,7,33,128 --checks cpu,batch
    else
        missing agree-1.1b-f32 proof "there is no model file"
    fi
    if model llama-1.1b q4_k_m 15; then
        agree agree-1.1b-q4_k_m 75 15 --model "$file"
    else
        missing agree-1.1b-q4_k_m proof "there is no model file"
    fi
    if model llama-3.1-8b q4_k_m 25; then
        agree agree-8b-q4_k_m 75 20 --model "$file" --dtype bf16 --prompts 1,7,33 --checks cpu,batch
        table table-8b-q4_k_m 150 30
    else
        missing agree-8b-q4_k_m proof "there is no model file"
    fi
    if model llama-3.1-8b q8_0 60; then table table-8b-q8_0 100 30; fi
    if model mistral-7b q4_k_m 50; then table table-mistral-7b-q4_k_m 80 30; fi
    if [ $((budget - SECONDS)) -ge 60 ]; then transformers; fi
}

rehearse() {
    local trained
    trained=$(stories)
    part card proof 20 1 "$binary" bench card --devices "$devices" --quick --out "$out/card.json" || true
    part kernels proof 60 1 "$binary" bench kernels --devices "$devices" --out "$out/kernels.json" || true
    if [ -n "$trained" ]; then agree agree-stories 30 1 --model "$trained" --prompts 1,7,33; fi
    if model tiny f32 1; then agree agree-tiny-f32 30 1 --model "$file" --dtype f32 --checks cpu,batch; fi
    if model tiny q4_k_m 1; then
        agree agree-tiny-q4_k_m 30 1 --model "$file"
        table table-tiny-q4_k_m 30 1 --quick
    fi
    if model tiny q8_0 1; then table table-tiny-q8_0 30 1 --quick; fi
}

transformers() {
    if ! python3 -c 'import torch, transformers' 2>/dev/null; then
        missing transformers figures "torch and transformers are not installed"
        return
    fi
    part transformers figures 150 45 python3 "$scripts/peers/transformers_bench.py" \
        --shape llama-3.1-8b --time-limit @SECONDS@ --out "$out/transformers.json" || true
}

# build_llama_cpp FOLDER: from the sources in the tarball, for the card that is here and no other.
build_llama_cpp() {
    local build=$1 sources=$scratch/llama-sources capability toolkit
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
    mkdir -p "$sources"
    tar -xzf "$LLAMA_CPP_SDIST" -C "$sources" --strip-components=1
    if ! command -v nvcc >/dev/null; then
        toolkit=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])')/cu13
        export PATH="$toolkit/bin:$PATH" CUDAToolkit_ROOT="$toolkit"
    fi
    cmake -S "$sources/vendor/llama.cpp" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_CUDA=ON \
        -DCMAKE_CUDA_ARCHITECTURES="$capability" -DGGML_CUDA_GRAPHS=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF
    cmake --build "$build" --target llama-bench llama-batched-bench -j "$(nproc)"
}

llama_cpp() {
    local build=${LLAMA_CPP_BUILD:-$scratch/llama.cpp}
    if [ ! -x "$build/bin/llama-batched-bench" ]; then
        if [ ! -f "${LLAMA_CPP_SDIST:-}" ]; then
            missing llama.cpp figures "neither LLAMA_CPP_BUILD nor LLAMA_CPP_SDIST leads to it"
            return
        fi
        export -f build_llama_cpp
        export scratch LLAMA_CPP_SDIST
        # shellcheck disable=SC2016 # The inner shell expands it.
        part llama.cpp-build preparation 420 60 bash -euc 'build_llama_cpp "$1"' bash "$build" || return 0
    fi
    if ! model llama-3.1-8b q4_k_m 30; then return; fi
    part llama-bench figures 90 20 "$build/bin/llama-bench" -m "$file" -ngl 99 -fa 1 -p 512,4096,16384 -n 128 -r 3 || true
    part llama-batched-bench figures 120 30 "$build/bin/llama-batched-bench" -m "$file" -ngl 99 -c 81920 -npp 512 -ntg 128 \
        -npl 1,8,32,64,128 || true
}

case $mode in
rehearse) rehearse ;;
peers)
    find_libraries
    llama_cpp
    transformers
    ;;
suite)
    find_libraries
    prove_and_measure
    ;;
esac
summarize
say "$out/summary.md"
if [ "$unproven" -gt 0 ]; then
    say "$unproven proofs failed or could not be had"
    exit 1
fi
