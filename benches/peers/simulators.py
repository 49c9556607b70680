#!/usr/bin/env python3
"""podlab's simulator beside Dynamo's, on the same trace and machine, turn by turn.

    cargo build --release
    python3 benches/peers/simulators.py --trace conversation_trace.jsonl

Needs Python 3.10 or newer with venv; Dynamo (`ai-dynamo-runtime` 1.6.1, 300 MB) is installed by pip into a folder of
`target` on the first run. Every run is a process of its own, so that what it costs is all there is to it: starting, reading and
parsing the trace, simulating, summing up. CPU seconds are user and system time of all its threads; the two simulators take
turns, so that what else the machine does disturbs both alike. Medians of `--rounds`, and the range.

What is compared: Dynamo's offline replay (`dynamo.replay.run_trace_replay`, engine defaults: 16,384 blocks of 64 tokens, so at
16 tokens 65,536; polynomial timing) with `podlab simulate` of driver/examples/aws-blog-70b.yaml with as many blocks, device
caches only; round robin, and each one's router by cache events (`kv_router`; `kvaware`). The models of the hardware differ,
and so do latencies: only the work per request is alike (same trace, same blocks, passes of a batch, evictions, events).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VERSION = "1.6.1"

DYNAMO = """
import json, sys
from dynamo.replay import run_trace_replay
trace, block, workers, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
engine = {"engine": {"block_size": block, "num_gpu_blocks": 1048576 // block}}
report = run_trace_replay(trace, extra_engine_args=engine, num_workers=workers, router_mode=mode, trace_block_size=512)
summary = report.summary if hasattr(report, "summary") else report
print(json.dumps({"requests": summary.get("completed_requests")}))
"""


def target() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def dynamo() -> pathlib.Path:
    """The Python that has Dynamo, installed where it is not."""
    folder = target() / "dynamo" / "venv"
    python = folder / "bin" / "python"
    check = f"import importlib.metadata as m; assert m.version('ai-dynamo-runtime') == '{VERSION}'; import dynamo.replay"
    if not python.exists() or subprocess.run([python, "-c", check], capture_output=True).returncode:
        print(f"installing ai-dynamo-runtime {VERSION} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"ai-dynamo-runtime=={VERSION}"], check=True, timeout=900)
        # Its dependencies cannot all be had, and the replay needs none of them.
        subprocess.run([*pip, "--no-deps", f"ai-dynamo=={VERSION}"], check=True, timeout=300)
    return python


def measured(command, environment=None):
    """CPU seconds and the peak of resident memory, in MB, of a command; and what it printed."""
    # A process of its own in between: the peak of children is the largest there ever was.
    probe = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, done.returncode, done.stdout, done.stderr]))"
    )
    done = subprocess.run([sys.executable, "-c", probe, *map(str, command)], capture_output=True, text=True, env=environment)
    seconds, megabytes, status, out, err = json.loads(done.stdout)
    if status:
        sys.exit(f"{command[0]} failed: {err[-2000:]}")
    return seconds, megabytes, out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", required=True, type=pathlib.Path, help="Mooncake's conversation trace")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each simulator and setting")
    parser.add_argument("--podlab", type=pathlib.Path, default=target() / "release" / "podlab")
    args = parser.parse_args()
    if not args.trace.exists():
        parser.error(f"there is no {args.trace}")
    if not args.podlab.exists():
        parser.error(f"there is no {args.podlab}; build it: cargo build --release")
    python = dynamo()
    quiet = {**os.environ, "DYN_LOG": "error"}
    endpoint = ROOT / "driver" / "examples" / "aws-blog-70b.yaml"
    requests = sum(1 for line in args.trace.open() if line.strip())
    rows = []
    for workers, strategy, mode, block in [
        (4, "roundrobin", "round_robin", 16),
        (4, "kvaware", "kv_router", 16),
        (4, "roundrobin", "round_robin", 64),
        (4, "kvaware", "kv_router", 64),
        (64, "kvaware", "kv_router", 16),
    ]:
        ours = [args.podlab, "simulate", endpoint, "--workload", f"trace:{args.trace}", "--replicas", workers, "--cache", "l0"]
        ours += ["--strategy", strategy, "--set", f"engine.block_size={block}", "--set", f"engine.num_gpu_blocks={1048576 // block}"]
        ours += ["-o", "json"]
        theirs = [python, "-c", DYNAMO, args.trace, block, workers, mode]
        samples = {"podlab": [], "dynamo": []}
        for _ in range(args.rounds):
            seconds, megabytes, out = measured(ours)
            assert json.loads(out)["runs"][0]["completed"] == requests, "podlab completes every request"
            samples["podlab"].append((seconds, megabytes))
            seconds, megabytes, out = measured(theirs, quiet)
            completed = json.loads(out.splitlines()[-1])["requests"]
            assert completed in (None, requests), f"Dynamo completed {completed} of {requests}"
            samples["dynamo"].append((seconds, megabytes))
        rows.append((workers, strategy, mode, block, samples))

    print("| workers, block | podlab | requests per CPU-second | MB | Dynamo | requests per CPU-second | MB | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for workers, strategy, mode, block, samples in rows:
        cells = []
        rates = []
        for name, label in [("podlab", strategy), ("dynamo", mode)]:
            seconds = sorted(sample[0] for sample in samples[name])
            rate = requests / statistics.median(seconds)
            rates.append(rate)
            cells.append(f"{label} | {rate:,.0f} ({requests / seconds[-1]:,.0f}-{requests / seconds[0]:,.0f}) | "
                         f"{statistics.median(sample[1] for sample in samples[name]):,.0f}")
        print(f"| {workers}, {block} | {cells[0]} | {cells[1]} | {rates[0] / rates[1]:,.0f} |")


if __name__ == "__main__":
    main()
