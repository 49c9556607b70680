#!/usr/bin/env python3
"""What a gateway costs: podlab's beside a bare proxy and other routers, before the same worker, turn by turn.

    cargo build --release --workspace --bins
    python3 benches/peers/gateways.py              # a proxy that copies bytes (tokio's copy_bidirectional), podlab
    python3 benches/peers/gateways.py --peers      # and sglang-router 0.3.2, vllm-router 0.1.17 (pip installs them: 280 MB)

Everything runs on this machine and in a process of its own: the worker is `podlab-mock`, which gives a first token after 20 ms and
one every 10 ms (2 ms with --peers, as facts of these routers are told for); the client is `podlab bench`, 64 streams in a closed
loop that starts over the time of one reply, prompts of 128 tokens, replies of 64. A turn asks each in another order. Medians of `--rounds`. CPU-seconds are user and system
time of the router's process alone; "added" is the difference of a turn's own figures to those of the worker asked directly.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PEERS = {"sglang": "sglang-router==0.3.2", "vllm": "vllm-router==0.1.17"}
TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended: {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{process.args[0]} does not listen")


def usage(pid: int) -> tuple[float, float]:
    """CPU-seconds so far, and MiB held now, of a process and its children."""
    cpu, memory = 0.0, 0.0
    for one in [pid, *children(pid)]:
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            cpu += (int(fields[11]) + int(fields[12])) / TICK
            status = pathlib.Path(f"/proc/{one}/status").read_text()
            memory += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        except (OSError, TypeError):
            pass
    return cpu, memory


def children(pid: int) -> list[int]:
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found += [int(folder.name), *children(int(folder.name))]
        except (OSError, IndexError):
            pass
    return found


def peer(name: str) -> pathlib.Path:
    folder = TARGET / "peers" / f"{name}-router"
    command = folder / "bin" / f"{name}-router"
    if not command.exists():
        print(f"installing {PEERS[name]} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", PEERS[name]], check=True, timeout=900)
    return command


def start(name: str, worker: str, folder: pathlib.Path, args) -> tuple[subprocess.Popen, int]:
    port, quiet = free_port(), {"stdout": subprocess.DEVNULL, "stderr": open(folder / f"{name}.log", "w")}
    if name == "proxy":
        command = [args.mock, "--listen", f"127.0.0.1:{port}", "--proxy", worker]
    elif name.startswith("podlab"):
        strategy = name.split()[1]
        endpoint = ROOT / "driver/examples/aws-blog-70b.yaml"
        command = [args.podlab, "serve", endpoint, "--worker", f"http://{worker}", "--strategy", strategy]
        command += ["--listen", f"127.0.0.1:{port}"]
    else:
        kind, policy = name.split()
        words = {"sglang": ["launch"], "vllm": []}[kind]
        command = [peer(kind), *words, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", f"http://{worker}"]
        command += ["--policy", policy, "--prometheus-port", str(free_port())]
    process = subprocess.Popen([str(word) for word in command], **quiet)
    wait_for(port, process)
    return process, port


def ask(port: int, args) -> dict:
    command = [args.podlab, "bench", "--target", f"http://127.0.0.1:{port}", "--api", "completions", "--quiet", "-o", "json"]
    command += ["--workload", "unrelated", "--set", "unrelated.prompt_tokens=128", "--set", "unrelated.spread=0"]
    command += ["--max-tokens", "64", "--concurrency", str(args.streams), "--requests", str(args.requests)]
    # Equal replies would begin in waves of all streams at once for ever: they start spread over the time that one takes.
    command += ["--no-calibration", "--model", "mock", "--ramp", f"{20 + 64 * args.itl}ms"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    if done.returncode not in (0, 99):
        sys.exit(f"bench: {done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="sglang-router and vllm-router, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--requests", type=int, default=640)
    parser.add_argument("--podlab", default=TARGET / "release" / "podlab")
    parser.add_argument("--mock", default=TARGET / "release" / "podlab-mock")
    args = parser.parse_args()
    args.itl = 2 if args.peers else 10
    names = ["direct", "proxy", "podlab roundrobin", "podlab prefixaware"]
    if args.peers:
        names += ["sglang round_robin", "sglang cache_aware", "vllm round_robin", "vllm cache_aware"]
    rows: dict[str, list[dict]] = {name: [] for name in names}
    started: list[subprocess.Popen] = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        try:
            command = [str(args.mock), "--ttft-ms", "20", "--itl-ms", str(args.itl), "--tokens", "64"]
            mock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            started.append(mock)
            worker = mock.stdout.readline().strip()
            routers = {}
            for name in names[1:]:
                routers[name] = start(name, worker, folder, args)
                started.append(routers[name][0])
            routers["direct"] = (mock, int(worker.rsplit(":", 1)[1]))
            for name in names:  # nobody pays for a first connection
                ask(routers[name][1], argparse.Namespace(**{**vars(args), "requests": args.streams}))
            for turn in range(args.rounds):
                for name in names[turn % len(names):] + names[: turn % len(names)]:
                    process, port = routers[name]
                    before = usage(process.pid)
                    said = ask(port, args)
                    after = usage(process.pid)
                    figures = find(said)
                    figures |= {"cpu": after[0] - before[0], "rss": after[1]}
                    rows[name].append(figures)
                    print(f"turn {turn + 1}: {name}: {figures}", file=sys.stderr)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
    print("| before the worker | TTFT P50 ms | added | P99 ms | added | ms between tokens | requests/s | of direct | requests per router CPU-second | MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    middle = lambda name, key: statistics.median(row[key] for row in rows[name])
    against = lambda name, key: statistics.median(a[key] - b[key] for a, b in zip(rows[name], rows["direct"]))
    for name in names:
        share = statistics.median(a["rate"] / b["rate"] for a, b in zip(rows[name], rows["direct"]))
        own = "" if name == "direct" else f"{statistics.median(args.requests / max(row['cpu'], 0.01) for row in rows[name]):,.0f}"
        memory = "" if name == "direct" else f"{middle(name, 'rss'):.0f}"
        print(
            f"| {name} | {middle(name, 'p50'):.1f} | {against(name, 'p50'):+.2f} | {middle(name, 'p99'):.1f} | {against(name, 'p99'):+.2f} "
            f"| {middle(name, 'itl'):.2f} | {middle(name, 'rate'):.0f} | {share:.0%} | {own} | {memory} |"
        )


def find(said: dict) -> dict:
    names = {"p50": "p50_ttft_ms", "p99": "p99_ttft_ms", "itl": "mean_itl_ms", "rate": "request_throughput"}
    return {name: said[key] for name, key in names.items()}


if __name__ == "__main__":
    main()
