#!/usr/bin/env bash
# Starts the binary and drives it through the official `openai` client: with documents only, with a synthetic model, and,
# where SCONCE_DATA has it, with a small trained one. Makes its own Python environment.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the caller's shell sets for a server of its own must not change the servers here, and no proxy stands before them.
unset SCONCE_MODEL SCONCE_API_KEY
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1" no_proxy="${no_proxy:+$no_proxy,}127.0.0.1"

venv=${SCONCE_VENV:-target/conformance-venv}
requirements=scripts/requirements-conformance.txt
pinned=$(sed -n 's/^openai==//p' "$requirements")
installed=$("$venv/bin/python" -c 'import openai; print(openai.__version__)' 2>/dev/null || true)
if [ "$installed" != "$pinned" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$requirements"
fi
cargo build --locked --quiet
binary=${CARGO_TARGET_DIR:-target}/debug/sconce
work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

# serve ARGUMENTS…: starts the server and sets $url once it greets.
serve() {
    : >"$work/greeting"
    SCONCE_HOME="$work/home" "$binary" serve --port 0 "$@" >"$work/greeting" &
    server=$!
    for _ in $(seq 600); do
        url=$(sed -n 's/^Sconce listens on //p' "$work/greeting")
        if [ -n "$url" ]; then return; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "the server did not start" >&2
    exit 1
}

stop() {
    kill -TERM "$server"
    wait "$server"
    server=
}

echo "-- documents only"
serve --model none
"$venv/bin/python" scripts/conformance.py --base-url "$url" --no-model
stop

echo "-- a synthetic model"
"$binary" synth --shape tiny --quantization q8_0 --context 4096 "$work/tiny.gguf"
serve --model "$work/tiny.gguf"
"$venv/bin/python" scripts/conformance.py --base-url "$url" --expect-model tiny
stop

stories=${SCONCE_DATA:-/nonexistent}/models/stories260K.gguf
if [ -f "$stories" ]; then
    echo "-- a trained model"
    serve --model "$stories"
    "$venv/bin/python" scripts/batch_equals_alone.py --base-url "$url"
    stop
else
    echo "skipped: SCONCE_DATA has no models/stories260K.gguf"
fi
