#!/usr/bin/env bash
# Installs what the tests need, then runs all of them. Loopback only; everything started here is stopped here.
#
# Real traces and measurements are not part of the project: tests that use them look in ../shared/data, or in the
# folder that PODLAB_DATA names, and say "skipped" without it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
: "${CARGO_TARGET_DIR:=$root/target}"
mkdir -p "$CARGO_TARGET_DIR"
CARGO_TARGET_DIR=$(cd "$CARGO_TARGET_DIR" && pwd) # tests run in another folder
export CARGO_TARGET_DIR
unset CARGO_BUILD_TARGET
if [ -z "${PODLAB_DATA:-}" ] && [ -d "$root/../shared/data" ]; then
    PODLAB_DATA=$(cd "$root/../shared/data" && pwd)
    export PODLAB_DATA
fi

# Debug and release must give the same bytes, so the tests compare themselves with this binary.
cargo build --release --locked --quiet -p podlab-driver
export PODLAB_BIN=$CARGO_TARGET_DIR/release/podlab

# The real openai client judges the server.
venv=$CARGO_TARGET_DIR/clients
if ! "$venv/bin/python" -c 'import openai, botocore; assert openai.__version__ == "3.54.0"' 2>/dev/null; then
    python3 -m venv "$venv" || {
        echo "tests/run.sh: python3 needs its venv module (Debian: apt-get install python3-venv)" >&2
        exit 1
    }
    timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check openai==3.54.0 botocore==1.43.11
fi
export PODLAB_PYTHON=$venv/bin/python

timeout 3000 cargo test --locked --workspace --tests -- --test-threads=2 "$@"
