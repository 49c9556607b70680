#!/usr/bin/env bash
# Installs what the tests need, then runs all of them. Loopback only; everything started here is stopped here.
#
# Real traces and measurements are not part of the project: tests that use them look in ../shared/data, or in the
# folder that PODLAB_DATA names, and say "skipped" without it. So it is with the drivers of LMCache's client: ../shared/clients,
# or the folder that PODLAB_CLIENTS names.
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

# L2 in a Redis is tested with real ones, alone and as a cluster.
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    # The package would start a server of its own, which nobody asked for.
    { timeout 300 "${as_root[@]}" apt-get update -qq && RUNLEVEL=1 timeout 600 "${as_root[@]}" apt-get install -y -qq redis-server >/dev/null; } || {
        echo "tests/run.sh: the tests of L2 need redis-server (Debian: apt-get install redis-server)" >&2
        exit 1
    }
fi

# Debug and release must give the same bytes, so the tests compare themselves with this binary.
cargo build --release --locked --quiet -p podlab-driver
export PODLAB_BIN=$CARGO_TARGET_DIR/release/podlab

# Real clients judge the servers, and podlab's own client: openai, boto3, the AWS CLI; Jinja itself judges chat templates.
venv=$CARGO_TARGET_DIR/clients
clients=(openai==3.54.0 boto3==1.44.5 awscli==1.46.3 aiohttp==3.14.5 msgspec==0.22.0 prometheus-client==0.26.0 jinja2==3.1.6)
lmcache=lmcache==0.5.6 # its Python files only: they need no torch, and what it depends on is a gigabyte
if [ "$(cat "$venv/installed" 2>/dev/null)" != "${clients[*]} $lmcache" ]; then
    python3 -m venv --clear "$venv" || {
        echo "tests/run.sh: python3 needs its venv module (Debian: apt-get install python3-venv)" >&2
        exit 1
    }
    timeout 900 "$venv/bin/pip" install --quiet --disable-pip-version-check "${clients[@]}"
    timeout 900 "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 --dest "$venv/wheels" "$lmcache"
    "$venv/bin/python" -m zipfile -e "$venv"/wheels/lmcache-*.whl "$venv/lmcache"
    echo "${clients[*]} $lmcache" >"$venv/installed"
fi
export PODLAB_PYTHON=$venv/bin/python PODLAB_LMCACHE=$venv/lmcache

# vLLM's own router judges what podlab's workers publish: its extension and the few files around it (70 MB) need nothing else.
router=vllm-router==0.1.17
PODLAB_VLLM_ROUTER=$CARGO_TARGET_DIR/vllm-router
if [ "$(cat "$PODLAB_VLLM_ROUTER/installed" 2>/dev/null)" != "$router" ]; then
    rm -rf "$PODLAB_VLLM_ROUTER"
    timeout 900 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$PODLAB_VLLM_ROUTER" "$router"
    echo "$router" >"$PODLAB_VLLM_ROUTER/installed"
fi
export PODLAB_VLLM_ROUTER

timeout 3000 cargo test --locked --workspace --tests -- --test-threads=2 "$@"
