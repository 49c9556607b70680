#!/usr/bin/env python3
"""podlab's measuring client beside aiperf and SGLang's Rust client, against one server whose truth is known.

    cargo build --release --workspace --bins
    python3 benches/peers/clients.py

Needs Python 3.10 or newer with venv; aiperf 0.13.0 (1.2 GB with what it needs) and SGLang's wheel 0.5.23 (without what it needs:
its client is a Rust library) are installed by pip into a folder of `target` on the first run.

The server is `podlab-mock` of the tests: first token after 50 ms, 32 tokens, 10 ms apart. It says how late its own tokens were
and how many requests it held at once, so what a client reports can be held against what happened: `off by` is the client's
figure less the server's own. Each run has a server of its own; the clients take turns, in `--rounds` rounds; shown are medians.
CPU seconds are user and system time of the client's command and of all that it waited for, start-up included; memory is the most
that its processes held together (proportional set size, looked at 20 times a second).
"""

import argparse
import glob
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
AIPERF, SGLANG = "0.13.0", "0.5.23"
TTFT_MS, ITL_MS, TOKENS, PROMPT = 50.0, 10.0, 32, 256

SGLANG_CLIENT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_bench", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run_argv(["sglang-bench", *sys.argv[2:]])  # raises where it fails
"""


def target() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def installed(name: str, wants: list[str]) -> pathlib.Path:
    """The folder of a Python environment that has `wants`, made where it is not."""
    folder = target() / "peers" / name
    marker = folder / "installed"
    if not marker.exists() or marker.read_text() != " ".join(wants):
        print(f"installing {' '.join(wants)} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wants], check=True, timeout=1800)
        marker.write_text(" ".join(wants))
    return folder


def tokenizer(python: pathlib.Path, home: pathlib.Path) -> pathlib.Path:
    """A tokenizer of whole words, laid out as a hub's cache: neither client is to fetch one."""
    revision = "0" * 40
    folder = home / "hub" / "models--mock--tok" / "snapshots" / revision
    if not (folder / "tokenizer.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        refs = home / "hub" / "models--mock--tok" / "refs"
        refs.mkdir(exist_ok=True)
        (refs / "main").write_text(revision)
        make = (
            "import sys; from tokenizers import Tokenizer, models, pre_tokenizers, decoders\n"
            "words = ['<unk>', 'tok'] + [f'w{i}' for i in range(4096)]\n"
            "t = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token='<unk>'))\n"
            "t.pre_tokenizer = pre_tokenizers.Whitespace(); t.save(sys.argv[1])"
        )
        subprocess.run([python, "-c", make, folder / "tokenizer.json"], check=True)
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 100000})
        )
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


class Server:
    """A `podlab-mock` of its own."""

    def __enter__(self):
        command = [target() / "release" / "podlab-mock", "--ttft-ms", TTFT_MS, "--itl-ms", ITL_MS, "--tokens", TOKENS]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        self.url = "http://" + self.process.stdout.readline().strip()
        return self

    def stats(self):
        with urllib.request.urlopen(self.url + "/stats", timeout=10) as answer:
            return json.load(answer)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def held(group: int) -> float:
    """Megabytes that the processes of a group hold together."""
    total = 0
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            # The leader only waits for the others.
            if int(pathlib.Path(stat).parent.name) == group:
                continue
            if int(pathlib.Path(stat).read_text().rsplit(")", 1)[1].split()[2]) == group:
                rollup = pathlib.Path(stat).with_name("smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
        except (OSError, TypeError, IndexError):
            pass  # it has ended meanwhile
    return total / 1000


def measured(command, environment):
    """CPU seconds, peak megabytes, wall seconds and what was printed, of a command and all that it starts."""
    # A process in between, so that all that the command's children used is counted with it.
    probe = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "open(sys.argv[1], 'w').write(json.dumps([used.ru_utime + used.ru_stime, done.returncode, done.stdout]))"
    )
    with tempfile.NamedTemporaryFile() as told:
        began, peak = time.monotonic(), 0.0
        watched = subprocess.Popen(
            [sys.executable, "-c", probe, told.name, *map(str, command)], env=environment, start_new_session=True
        )
        while watched.poll() is None:
            peak = max(peak, held(watched.pid))
            time.sleep(0.05)
        wall = time.monotonic() - began
        seconds, status, said = json.loads(pathlib.Path(told.name).read_text())
    if status:
        sys.exit(f"{command[0]} failed ({status}): {said[-3000:]}")
    return seconds, peak, wall, said


def podlab(url, concurrency, requests, out):
    command = [target() / "release" / "podlab", "bench", "--target", url, "--concurrency", concurrency, "--requests", requests]
    command += ["--prompt-tokens", PROMPT, "--max-tokens", TOKENS, "--model", "mock-model", "--out", out / "run", "-o", "json"]
    return command, lambda: json.loads((out / "run" / "summary.json").read_text())


def sglang(url, concurrency, requests, out):
    folder = installed("sglang", ["--no-deps", f"sglang=={SGLANG}"])
    library = next(iter(sorted(folder.glob("lib/python*/site-packages/sglang/**/_bench*.so"))), None)
    if library is None:
        sys.exit("sglang's wheel holds no Rust client (_bench)")
    words = tokenizer(installed("aiperf", [f"aiperf=={AIPERF}"]) / "bin" / "python", target() / "peers" / "hub")
    command = [folder / "bin" / "python", "-c", SGLANG_CLIENT, library, "--backend", "vllm-chat", "--base-url", url]
    command += ["--dataset-name", "random-ids", "--model", "mock-model", "--tokenizer", words, "--num-prompts", requests]
    command += ["--max-concurrency", concurrency, "--random-input-len", PROMPT, "--random-output-len", TOKENS]
    command += ["--random-range-ratio", "1.0", "--warmup-requests", 0, "--output-file", out / "sglang.jsonl"]

    def told():
        said = json.loads((out / "sglang.jsonl").read_text().splitlines()[-1])
        return {"p50_ttft_ms": said["median_ttft_ms"], "p99_ttft_ms": said["p99_ttft_ms"], **said}

    return command, told


def aiperf(url, concurrency, requests, out):
    folder = installed("aiperf", [f"aiperf=={AIPERF}"])
    tokenizer(folder / "bin" / "python", target() / "peers" / "hub")
    command = [folder / "bin" / "aiperf", "profile", "--model", "mock-model", "--url", url, "--endpoint-type", "chat"]
    command += ["--streaming", "--tokenizer", "mock/tok", "--concurrency", concurrency, "--request-count", requests]
    command += ["--isl", PROMPT, "--isl-stddev", 0, "--osl", TOKENS, "--osl-stddev", 0, "--artifact-dir", out / "aiperf", "--ui", "none"]

    def told():
        said = json.loads(next((out / "aiperf").rglob("profile_export_aiperf.json")).read_text())
        first, each = said["time_to_first_token"], said["inter_token_latency"]
        return {
            "p50_ttft_ms": first["p50"],
            "p99_ttft_ms": first["p99"],
            "median_tpot_ms": each["p50"],
            "request_throughput": said["request_throughput"]["avg"],
        }

    return command, told


CLIENTS = {"podlab": podlab, f"SGLang {SGLANG} (Rust)": sglang, f"aiperf {AIPERF}": aiperf}


def run(client, concurrency, requests, room):
    environment = {**os.environ, "HF_HOME": str((target() / "peers" / "hub").resolve()), "HF_HUB_OFFLINE": "1"}
    out = pathlib.Path(tempfile.mkdtemp(dir=room))
    with Server() as server:
        command, told = client(server.url, concurrency, requests, out)
        seconds, peak, wall, _ = measured(command, environment)
        truth = server.stats()
    said = told()
    return {
        "in_flight": truth["max_in_flight"],
        "rate": said["request_throughput"],
        "p50": said["p50_ttft_ms"] - truth["ttft_p50_ms"],
        "p99": said["p99_ttft_ms"] - truth["ttft_p99_ms"],
        "cpu": seconds / requests * 1000,
        "mb": peak,
        "wall": wall,
        "server_p50": truth["ttft_p50_ms"],
        "server_p99": truth["ttft_p99_ms"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["podlab", "sglang", "aiperf"], action="append", help="these clients")
    parser.add_argument("--loads", default="20:500,500:5000", help="CONCURRENCY:REQUESTS,..")
    asked = parser.parse_args()
    if not (target() / "release" / "podlab-mock").exists():
        sys.exit("build first: cargo build --release --workspace --bins")
    clients = {n: c for n, c in CLIENTS.items() if not asked.only or any(n.lower().startswith(o) for o in asked.only)}
    loads = [tuple(map(int, load.split(":"))) for load in asked.loads.split(",")]
    seen = {}
    with tempfile.TemporaryDirectory() as room:
        for number in range(asked.rounds):
            for concurrency, requests in loads:
                for name, client in clients.items():
                    result = run(client, concurrency, requests, room)
                    print(f"round {number + 1}: {name} at {concurrency}: {result}", file=sys.stderr)
                    seen.setdefault((concurrency, requests, name), []).append(result)
    ideal = (TTFT_MS + ITL_MS * (TOKENS - 1)) / 1000
    print(f"load average {os.getloadavg()[0]:.1f}; medians of {asked.rounds}\n")
    print("| in flight asked, requests | client | in flight | requests/s | of the ceiling | TTFT P50 off by, ms | P99 off by, ms | CPU-s per 1,000 | MB | wall, s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (concurrency, requests, name), results in seen.items():
        median = {key: statistics.median(result[key] for result in results) for key in results[0]}
        ceiling = concurrency / ideal
        print(
            f"| {concurrency}, {requests} | {name} | {median['in_flight']:.0f} | {median['rate']:.1f} | {median['rate'] / ceiling:.0%} "
            f"| {median['p50']:+.1f} | {median['p99']:+.1f} | {median['cpu']:.2f} | {median['mb']:.0f} | {median['wall']:.1f} |"
        )


if __name__ == "__main__":
    main()
