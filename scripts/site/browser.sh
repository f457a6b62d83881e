#!/usr/bin/env bash
# Reads the built site in Chromium, as a visitor does: usage: scripts/site/browser.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=$PWD/target/site-browser

bash scripts/venv.sh "$home" scripts/site/browser-requirements.txt
"$home/bin/python" scripts/site/browser.py target/site
