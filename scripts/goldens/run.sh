#!/usr/bin/env bash
# Makes the goldens of the forward again, with references that are not ours: transformers, and llama.cpp beside it. Installs
# both into an environment of its own, which takes several gigabytes because torch brings CUDA libraries along.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=target/goldens-venv
goldens=crates/model/tests/data/goldens
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet -r scripts/goldens/requirements.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$environment/bin/python" scripts/goldens/models.py "$goldens"
"$environment/bin/python" scripts/goldens/models.py "$work" --f32
"$environment/bin/python" scripts/goldens/peer.py "$work" "$goldens" | tee "$goldens/llama_cpp.md"
