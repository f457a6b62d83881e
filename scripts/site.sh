#!/usr/bin/env bash
# Builds the documentation site in target/site: `make site`. Its packages come from PyPI, with checksums.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=scripts/site/requirements.txt
home=$PWD/target/site-tools

if ! cmp -s "$wanted" "$home/complete"; then
  echo "site: installing MkDocs, as $wanted lists it"
  rm -rf "$home"
  mkdir -p "$(dirname "$home")"
  python3 -m venv "$home"
  "$home/bin/pip" install -q --disable-pip-version-check --only-binary :all: --require-hashes -r "$wanted" </dev/null
  cp "$wanted" "$home/complete"
fi

python3 scripts/site/plots.py --check
NO_MKDOCS_2_WARNING=1 "$home/bin/mkdocs" build --clean
python3 scripts/site/offline.py target/site
echo "site: it is in target/site; to read it: python3 -m http.server -d target/site 8000"
