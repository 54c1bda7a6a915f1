#!/usr/bin/env bash
# Checks licences, bans and sources of all dependencies (deny.toml), installing cargo-deny on first use.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
cargo deny --version >/dev/null 2>&1 || cargo install --locked --quiet "cargo-deny@$version"
cargo deny --log-level error check licenses bans sources
