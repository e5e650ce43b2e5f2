#!/usr/bin/env bash
# Interoperation with other people's code: builds the foreign witness (needs Go and its module proxy) and has it cosign.
set -euo pipefail
cd "$(dirname "$0")/../.."
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
go -C tests/interop/witness build -o "$built/witness" .
LANYARD_FOREIGN_WITNESS="$built/witness" cargo test --workspace --test foreign_witness -- --nocapture "$@"
