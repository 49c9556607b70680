#!/usr/bin/env bash
# Everything that needs a real GPU, in one command: the workers' CUDA path against the CPU, copies beside passes, speed; a
# server on the GPU. Prints a dated table. Needs an NVIDIA driver and CUDA's toolkit (nvcc); a toolkit of Python packages
# will do: sim/worker/cuda-check puts one into target/cuda.
#
#   tests/cuda.sh [MODEL.gguf]         default: a random model of SmolLM2's size
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nvidia-smi >/dev/null || { echo "tests/cuda.sh: no nvidia-smi, so no GPU; sim/worker/cuda-check builds without one" >&2; exit 3; }
nvidia-smi -L
kit=${CARGO_TARGET_DIR:-$PWD/target}/cuda/python/nvidia/cu13
if ! command -v nvcc >/dev/null && [ -x "$kit/bin/nvcc" ]; then
    export CUDA_HOME=$kit CUDA_PATH=$kit CUDA_ROOT=$kit NVCC=$kit/bin/nvcc PATH=$kit/bin:$PATH
    export LD_LIBRARY_PATH=$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} RUSTFLAGS="-L native=$kit/lib"
fi
command -v nvcc >/dev/null || { echo "tests/cuda.sh: no nvcc: install CUDA's toolkit" >&2; exit 3; }

cargo build --release --locked -p podlab-worker --features cuda --example gpu
timeout 900 cargo run --release --locked --quiet -p podlab-worker --features cuda --example gpu -- "$(date -u +%F)" "$@"

# A server on the GPU answers, and finds a prompt again.
cargo build --release --locked -p podlab-driver --features cuda
"${CARGO_TARGET_DIR:-target}/release/podlab" serve driver/examples/aws-blog-70b.yaml --engine candle --model tiny --device cuda --listen 127.0.0.1:18099 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
ask='{"prompt": "Keys and values of this text are computed once and found again.", "max_tokens": 8, "temperature": 0}'
for _ in $(seq 60); do
    curl --silent --fail http://127.0.0.1:18099/health >/dev/null && break
    sleep 1
done
for _ in 1 2; do
    curl --silent --show-error --fail --max-time 60 --dump-header - -H 'content-type: application/json' -d "$ask" http://127.0.0.1:18099/v1/completions
    echo
done
