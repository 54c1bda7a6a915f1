#!/usr/bin/env bash
# The large model on one card in one command: packs the data, trains, exports, measures. About 18.6 M parameters.
# Usage: scripts/train/large.sh DATA OUT [TOKENS]; DATA has ooh/ and onet/, PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")"
data=$1 out=$2 tokens=${3:-1000000000}
python=${PYTHON:-python3}
mkdir -p "$out"
[ -e "$out/tokenizer.json" ] || "$python" tokenizer.py --data "$data" --out "$out/tokenizer.json"
# A quarter of the tokens is made beforehand; each sample is then seen four times.
[ -e "$out/packed.npz" ] || "$python" batches.py --data "$data" --tokenizer "$out/tokenizer.json" --out "$out/packed.npz" --tokens $((tokens / 4))
"$python" train.py --data "$data" --out "$out" --size large --packed "$out/packed.npz" --tokens "$tokens" --device cuda \
    --batch 65536 --rate 2e-3 --check-every 500 --save-minutes 2
"$python" export.py --out "$out" --name sconce-demo
"$python" measure.py --data "$data" --out "$out" --threads 8
