#!/usr/bin/env bash
# Screening at the size of the Games: 1,000,000 people against a list of 100,000 entries, with real services, a kill -9 in
# the middle of each long job, and OpenMined PSI on the same sets. Smaller: --people N --entries M; without the peer, which
# is fetched with pip: --no-peer. docs/PERFORMANCE.md has the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --bin lanyard
exec cargo run --release --quiet --bin lanyard-benches -- at-size "$@"
