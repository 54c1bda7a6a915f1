#!/usr/bin/env bash
# Makes the goldens again, with references that are not ours: transformers, tokenizers and llama.cpp. Installs them into an
# environment of its own, which takes several gigabytes because torch brings CUDA libraries along. Templates and the trained model
# are read from the folder that SCONCE_DATA names.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=target/goldens-venv
goldens=crates/model/tests/data/goldens
python3 -m venv "$environment"
python=$environment/bin/python
"$environment/bin/pip" install --quiet -r scripts/goldens/requirements.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" scripts/goldens/models.py "$goldens"
"$python" scripts/goldens/models.py "$work/f32" --f32
cargo build --locked
mkdir "$work/exported"
for folder in "$work"/f32/*/; do
    target/debug/sconce quantize "$folder" "$work/exported/$(basename "$folder").gguf" --type f32
done
{
    "$python" scripts/goldens/peer.py "$work/f32" "$goldens" "the gguf package"
    echo
    "$python" scripts/goldens/peer.py "$work/exported" "$goldens" "sconce quantize"
} | tee "$goldens/llama_cpp.md"
"$python" scripts/goldens/vocabularies.py crates/text/tests/goldens/tokenizers
"$python" scripts/goldens/templates.py "${SCONCE_DATA:?}/templates" crates/text/tests/goldens

mkdir "$work/quantized"
cp "$SCONCE_DATA/models/stories260K.gguf" "$work/quantized"
for kind in f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k q4_k_m q5_k_m; do
    target/debug/sconce synth --shape tiny --quantization "$kind" --context 256 "$work/quantized/$kind.gguf"
done
"$python" scripts/goldens/quantized.py crates/model/tests/data/quantized "$work"/quantized/*.gguf
