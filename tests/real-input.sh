#!/usr/bin/env bash
# The demo on real input: 50,000 synthetic people of another project's roster, screened against the US Treasury's sanctions list
# with its aliases (ofac_alt.csv, beside it).
# Needs LANYARD_SHARED with data/people_synthetic_50k.csv, data/ofac_sdn.csv and data/ofac_alt.csv.
set -euo pipefail
cd "$(dirname "$0")/.."
data="${LANYARD_SHARED:?set it to the folder that holds data/}/data"
exec cargo run --release --quiet --bin lanyard -- demo \
  --roster "$data/people_synthetic_50k.csv" --columns clients/cli/samples/columns/people_synthetic_50k.toml \
  --watchlist "$data/ofac_sdn.csv" --watchlist-columns clients/cli/samples/columns/ofac_sdn.toml --plant 50 "$@"
