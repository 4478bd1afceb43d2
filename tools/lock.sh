#!/usr/bin/env bash
# Rewrite requirements.lock: every package at the version that a fresh environment resolves today.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet ".[dev]" setuptools wheel
"$scratch/venv/bin/pip" freeze --all --exclude crispd --exclude pip | grep -v '^crispd' > requirements.lock
