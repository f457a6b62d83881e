#!/usr/bin/env bash
# Builds the documentation site in target/site: `make site`. Its packages come from PyPI, with checksums.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/target/site-tools

bash scripts/venv.sh "$home" scripts/site/requirements.txt
python3 scripts/site/plots.py --check
NO_MKDOCS_2_WARNING=1 "$home/bin/mkdocs" build --clean
python3 scripts/site/offline.py target/site
echo "site: it is in target/site; to read it: python3 -m http.server -d target/site 8000"
