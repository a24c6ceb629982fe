#!/usr/bin/env python3
"""Models that do not fit: shoehorn and Accelerate with most of the weights on disk, each inside the same
memory cgroup, files out of the page cache, the drive probed in the same run by shoehorn and by fio.

    bench/offload.py                       # Llama 7 B shape in bfloat16 (13.5 GB), cpu=4GiB, cgroup 6 GiB
    bench/offload.py --shape llama-1.1b --max-memory 700MiB --limit 1GiB

Needs root, a writable memory cgroup (v1 or v2), fio, and for Accelerate a Python with torch, transformers and
accelerate (--python). Rounds alternate, so that a drive that drifts drifts for both. --doc writes the section.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import child
import machine
from llama_shape import SHAPES
from memory import Cgroup, parse_size
from report import replace_section

PROBE_BYTES = 3 << 30  # never less than the drive's own cache
READ_BYTES = 1 << 20
QUEUE_DEPTH = 8


class Box(Cgroup):
    """A memory group that says how full it was and whether the kernel killed in it."""

    def first(self, *names: str) -> str:
        return next((self.path / name).read_text() for name in names if (self.path / name).exists())

    def peak_bytes(self) -> int:
        return int(self.first("memory.max_usage_in_bytes", "memory.peak"))

    def kills(self) -> int:
        text = self.first("memory.oom_control", "memory.events")
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def drop_page_cache() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def run_boxed(command: list, limit: int, timeout_s: float, env: dict[str, str] | None = None) -> dict:
    """The command's JSON (its last line), with the group's peak, or what went wrong."""
    drop_page_cache()
    with Box(limit) as box:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                timeout=timeout_s,
                preexec_fn=box.enter,
                env=env,
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"no answer within {timeout_s:.0f} s"}
        peak, kills = box.peak_bytes(), box.kills()
    result = child.last_object(done.stdout)
    if done.returncode != 0 or result is None:
        why = "killed for memory" if kills else child.last_words(done.stderr or done.stdout)
        return {"problem": why, "cgroup_peak_bytes": peak}
    return result | {"cgroup_peak_bytes": peak, "kills": kills}


def run_shoehorn(options, model: Path, extra: list[str]) -> dict:
    ids = ",".join(str(random.randrange(16, 30000)) for _ in range(options.prompt_tokens))
    command = [options.shoehorn, "run", model, "--ids", ids, "--json", "--ignore-eos"]
    command += ["--max-new-tokens", options.new_tokens, "--max-context", options.max_context]
    command += ["--max-memory", f"cpu={options.max_memory}", *extra]
    result = run_boxed(command, parse_size(options.limit), options.timeout)
    if "problem" in result:
        return result
    stats = result["stats"]
    rate = stats["decode_tok_s"]
    return {
        "decode_tok_s": rate,
        "disk_bytes_per_token": stats["disk_bytes_per_token"],
        "streamed_gb_s": stats["disk_bytes_per_token"] * rate / 1e9,
        "peak_bytes": stats["peak_bytes"],
        "cgroup_peak_bytes": result["cgroup_peak_bytes"],
    }


def run_accelerate(options, model: Path, folder: Path) -> dict:
    worker = Path(__file__).with_name("peer_worker.py")
    command = [options.python, worker, "measure", "accelerate", "bf16", model, "--threads", options.threads]
    command += ["--prompts", f"{options.prompt_tokens}+{options.peer_tokens}"]
    command += ["--vocab-size", SHAPES[options.shape].vocab_size, "--max-memory", f"cpu={options.max_memory}"]
    command += ["--offload-folder", folder]
    result = run_boxed(
        command, parse_size(options.limit), options.timeout, child.environment(options.threads)
    )
    if "problem" in result:
        return result
    run = result["runs"][0]
    return {
        "decode_tok_s": run["more_tokens"] / run["more_tokens_s"],
        "cgroup_peak_bytes": result["cgroup_peak_bytes"],
        "notes": result["notes"],
    }


def largest_file(model: Path) -> Path:
    return max(model.iterdir(), key=lambda path: path.stat().st_size)


@contextlib.contextmanager
def huge_pages(count: int):
    """So many for fio's buffers, given back afterwards: into small pages a virtual drive reads slower than
    into those that shoehorn reads into (docs/benchmarks.md)."""
    knob = Path("/proc/sys/vm/nr_hugepages")
    before = int(knob.read_text())
    knob.write_text(str(before + count))
    try:
        yield int(knob.read_text()) >= before + count
    finally:
        knob.write_text(str(before))


def probe_fio(file: Path) -> float:
    """GB/s of 1 MiB direct reads, as many in flight as shoehorn's own probe has."""
    room = file.stat().st_size - PROBE_BYTES
    offset = random.randrange(max(1, room >> 20)) << 20
    command = ["fio", "--name=probe", f"--filename={file}", "--readonly", "--rw=read", "--direct=1"]
    command += [f"--bs={READ_BYTES}", "--ioengine=io_uring", f"--iodepth={QUEUE_DEPTH}", f"--offset={offset}"]
    command += [f"--size={min(PROBE_BYTES, file.stat().st_size - offset)}", "--output-format=json"]
    with huge_pages(2 * QUEUE_DEPTH) as granted:
        command.append("--iomem=shmhuge" if granted else "--iomem=shm")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["jobs"][0]["read"]["bw_bytes"] / 1e9


def probe_own(options, file: Path) -> dict:
    command = [options.shoehorn, "doctor", "--file", str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    return {"gb_s": report["rates"]["disk_gb_s"], "drives": report.get("drives", [])}


def median(rounds: list[dict], key: str) -> str:
    values = sorted(item[key] for item in rounds if key in item)
    if not values:
        return next((item["problem"] for item in rounds if "problem" in item), "")
    text = f"{statistics.median(values):.3g}"
    return text if len(values) == 1 else f"{text} ({values[0]:.3g}–{values[-1]:.3g})"


def section(options, record: dict) -> str:
    own, fio, ours, theirs = (record[key] for key in ("own", "fio", "shoehorn", "accelerate"))
    here = machine.describe()
    lines = [
        f"## {options.shape} in bfloat16, cpu={options.max_memory}, in a cgroup of {options.limit}",
        "",
        f"`--max-context {options.max_context}`, prompt of {options.prompt_tokens}, "
        f"{options.new_tokens} new tokens; page cache dropped before every run; medians of {len(ours)} rounds "
        "that alternate (lowest–highest).",
        "",
        f"{here['processor']}, {here['cores']} cores, {here['memory_bytes'] / (1 << 30):.1f} GiB; "
        f"{here['system']}, Linux {here['kernel']}; {datetime.date.today()}. "
        f"Other processes used up to {max(record['busy']):.0%} of the processor before each run.",
        "",
        f"Drive, 3 GB each time: shoehorn's probe {median(own, 'gb_s')} GB/s, fio {median(fio, 'gb_s')} GB/s.",
        "",
        "| engine | decode tok/s | from disk a token | GB/s | of the probed rate | peak of the cgroup |",
        "|---|---|---|---|---|---|",
    ]
    shares = [
        run["streamed_gb_s"] / probe["gb_s"] for run, probe in zip(ours, own) if "streamed_gb_s" in run
    ]
    good = [run for run in ours if "problem" not in run]
    size = f"{good[0]['disk_bytes_per_token'] / 1e9:.2f} GB" if good else ""
    share = f"{statistics.median(shares):.0%}" if shares else ""
    peak = max((run.get("cgroup_peak_bytes", 0) for run in ours), default=0) / (1 << 30)
    lines.append(
        f"| shoehorn | {median(ours, 'decode_tok_s')} | {size} | {median(ours, 'streamed_gb_s')} | {share} "
        f"| {peak:.2f} GiB |"
    )
    if theirs:
        peak = max((run.get("cgroup_peak_bytes", 0) for run in theirs), default=0) / (1 << 30)
        lines.append(f"| accelerate | {median(theirs, 'decode_tok_s')} | | | | {peak:.2f} GiB |")
        rates = [run["decode_tok_s"] for run in theirs if "decode_tok_s" in run]
        if rates and good:
            ratio = statistics.median(run["decode_tok_s"] for run in good) / statistics.median(rates)
            lines += ["", f"shoehorn decodes {ratio:.2f} times as fast."]
    return "\n".join(lines) + "\n"


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--max-memory", default="4GiB", help="for weights and all: cpu=...")
    parser.add_argument("--limit", default="6GiB", help="of the cgroup")
    parser.add_argument("--max-context", type=int, default=192)
    parser.add_argument("--prompt-tokens", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=8)
    parser.add_argument("--peer-tokens", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="accelerate", help="accelerate, or none")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("--python", default=sys.executable, help="has torch, transformers, accelerate")
    parser.add_argument("--shoehorn", type=Path, default=Path("build/release/shoehorn"))
    parser.add_argument("--out", type=Path, help="the full record, as JSON")
    parser.add_argument("--doc", type=Path, help="docs/benchmarks.md: replace this run's section there")
    return parser.parse_known_args()


def main() -> int:
    options, extra = parse()
    maker = Path(__file__).with_name("make_checkpoint.py")
    subprocess.run([sys.executable, maker, "--shape", options.shape], check=True)
    model = machine.bench_folder() / f"{options.shape}-bf16"
    folder = machine.bench_folder() / "accelerate-offload"
    file = largest_file(model)
    record: dict = {key: [] for key in ("busy", "own", "fio", "shoehorn", "accelerate")}
    for number in range(options.rounds):
        record["busy"].append(machine.busy_share(1.0))
        drop_page_cache()
        record["own"].append(probe_own(options, file))
        record["fio"].append({"gb_s": probe_fio(file)})
        record["shoehorn"].append(run_shoehorn(options, model, extra))
        if options.peers == "accelerate":
            record["accelerate"].append(run_accelerate(options, model, folder))
        print(number, {key: values[-1] for key, values in record.items() if values}, file=sys.stderr)
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    text = section(options, record)
    print(text)
    if options.doc:
        name = f"offload-{options.shape}-{options.max_memory}"
        options.doc.write_text(replace_section(options.doc.read_text(), name, text))
    return 1 if any("problem" in run for run in record["shoehorn"]) else 0


if __name__ == "__main__":
    sys.exit(main())
