#!/usr/bin/env python3
"""Models that do not fit: shoehorn and Accelerate with most of the weights on disk, each inside the same
memory cgroup, files out of the page cache, the drive probed in the same run by shoehorn and by fio.

    bench/offload.py                       # Llama 7 B shape in bfloat16 (13.5 GB), cpu=4GiB, cgroup 6 GiB
    bench/offload.py --shape llama-1.1b --max-memory 700MiB --limit 1GiB
    bench/offload.py --rows int8,nf4 --peers none

Rows: bf16, int8 and nf4 decode; prefill, a long prompt in bf16, beside the same with all weights in memory;
first-token, a prompt of one token in NF4, whose weights an earlier run has put into the weight cache.

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
import time
from pathlib import Path

import child
import machine
from llama_shape import SHAPES
from cgroup import Cgroup, parse_size
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


NF4 = ["--load-in-4bit", "--bnb-4bit-quant-type", "nf4"]
FORMS = {"bf16": [], "int8": ["--load-in-8bit"], "nf4": NF4}
ROWS = [*FORMS, "prefill", "first-token"]


def run_shoehorn(
    options, model: Path, flags: list[str], prompt: int, new: int, memory: str = "", limit: int = 0
) -> dict:
    """`shoehorn run` of random ids inside the cgroup."""
    ids = ",".join(str(random.randrange(16, 30000)) for _ in range(prompt))
    context = max(options.max_context, prompt + new)
    command = [options.shoehorn, "run", model, "--ids", ids, "--json", "--ignore-eos"]
    command += ["--max-new-tokens", new, "--max-context", context]
    command += ["--max-memory", f"cpu={memory or options.max_memory}"]
    command += ["--offload-folder", machine.bench_folder() / "weight-cache", *flags]
    start = time.monotonic()
    result = run_boxed(command, limit or parse_size(options.limit), options.timeout)
    wall_s = time.monotonic() - start
    if "problem" in result:
        return result
    stats = result["stats"]
    rate = stats["decode_tok_s"]
    return {
        "decode_tok_s": rate,
        "disk_bytes_per_token": stats["disk_bytes_per_token"],
        "streamed_gb_s": stats["disk_bytes_per_token"] * rate / 1e9,
        "load_s": stats["load_s"],
        "ttft_s": stats["ttft_s"],
        "wall_s": wall_s,
        "disk_bytes": stats["disk_bytes"],
        "weight_bytes": stats["weight_bytes"],
        "peak_bytes": stats["peak_bytes"],
        "cgroup_peak_bytes": result["cgroup_peak_bytes"],
    }


def run_decode(options, model: Path, form: str, extra: list[str]) -> dict:
    return run_shoehorn(options, model, [*FORMS[form], *extra], options.prompt_tokens, options.new_tokens)


def run_prefill(options, model: Path) -> dict:
    """With the limit, and with all weights in memory where they fit this machine."""
    streamed = run_shoehorn(options, model, [], options.prefill_tokens, 2)
    room = machine.describe()["memory_bytes"] * 85 // 100
    if model_bytes(model) * 11 // 10 < room:
        resident = run_shoehorn(
            options, model, [], options.prefill_tokens, 2, memory=f"{room >> 20}MiB", limit=room
        )
        streamed["resident_s"] = resident.get("ttft_s", 0)
    return streamed


def run_first_token(options, model: Path) -> dict:
    """The whole command: it starts, plans, reads the weights that are in the cache already, and says a token."""
    filled = run_shoehorn(options, model, [*NF4, "--device-map", "disk"], 1, 1)
    if "problem" in filled:
        return filled
    return run_shoehorn(options, model, NF4, 1, 1)


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


def model_bytes(model: Path) -> int:
    return sum(file.stat().st_size for file in model.glob("*.safetensors"))


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


def gib(runs: list[dict]) -> str:
    return f"{max((run.get('cgroup_peak_bytes', 0) for run in runs), default=0) / (1 << 30):.2f} GiB"


def decode_row(name: str, runs: list[dict], own: list[dict]) -> str:
    good = [run for run in runs if "problem" not in run]
    streams = [run for run in good if run["disk_bytes_per_token"] > 1e6]
    shares = [run["streamed_gb_s"] / probe["gb_s"] for run, probe in zip(runs, own) if run in streams]
    size = f"{good[0]['disk_bytes_per_token'] / 1e9:.2f} GB" if good else ""
    share = f"{statistics.median(shares):.0%}" if shares else ""
    rate = median(streams, "streamed_gb_s") if streams else ""
    return f"| shoehorn {name} | {median(runs, 'decode_tok_s')} | {size} | {rate} | {share} | {gib(runs)} |"


def prefill_lines(options, runs: list[dict], own: list[dict]) -> list[str]:
    lines = [
        "",
        f"A prompt of {options.prefill_tokens} tokens in bfloat16 takes {median(runs, 'ttft_s')} s; ",
        f"a pass of the drive at the probed rate {pass_s(runs, own):.1f} s, ",
        f"the same prompt with all weights in memory {median(runs, 'resident_s')} s.",
    ]
    bounds = [
        run["ttft_s"] / max(run.get("resident_s", 0), run["disk_bytes"] / 2 / 1e9 / probe["gb_s"])
        for run, probe in zip(runs, own)
        if "ttft_s" in run
    ]
    if bounds:
        lines[-1] += f" That is {statistics.median(bounds):.2f} times the longer."
    return ["", "".join(lines)]


def pass_s(runs: list[dict], own: list[dict]) -> float:
    """The prompt's pass is one of two."""
    times = [
        run["disk_bytes"] / 2 / 1e9 / probe["gb_s"] for run, probe in zip(runs, own) if "disk_bytes" in run
    ]
    return statistics.median(times) if times else 0


def first_token_lines(runs: list[dict], own: list[dict]) -> list[str]:
    ratios = [
        run["wall_s"] / (run["weight_bytes"] / 1e9 / probe["gb_s"])
        for run, probe in zip(runs, own)
        if "wall_s" in run
    ]
    if not ratios:
        return ["", f"The first token in NF4: {median(runs, 'wall_s')}."]
    return [
        "",
        f"The first token of a prompt of one in NF4, weights in the weight cache, page cache dropped: "
        f"{median(runs, 'wall_s')} s from the command's start, {statistics.median(ratios):.2f} times what "
        f"{runs[0]['weight_bytes'] / 1e9:.2f} GB take at the probed rate.",
    ]


def section(options, record: dict) -> str:
    own, fio, theirs = (record[key] for key in ("own", "fio", "accelerate"))
    here = machine.describe()
    lines = [
        f"## {options.shape}, cpu={options.max_memory}, in a cgroup of {options.limit}",
        "",
        f"`--max-context {options.max_context}`, prompt of {options.prompt_tokens}, "
        f"{options.new_tokens} new tokens; page cache dropped before every run; medians of {len(own)} rounds "
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
    lines += [decode_row(form, record[form], own) for form in FORMS if record[form]]
    rates = [run["decode_tok_s"] for run in theirs if "decode_tok_s" in run]
    if theirs:
        lines.append(f"| accelerate bf16 | {median(theirs, 'decode_tok_s')} | | | | {gib(theirs)} |")
    for form in FORMS:
        good = [run["decode_tok_s"] for run in record[form] if "decode_tok_s" in run]
        if rates and good:
            ratio = statistics.median(good) / statistics.median(rates)
            lines += ["", f"In {form} shoehorn decodes {ratio:.3g} times as fast as Accelerate in bf16."]
    if record["prefill"]:
        lines += prefill_lines(options, record["prefill"], own)
    if record["first-token"]:
        lines += first_token_lines(record["first-token"], own)
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
    parser.add_argument("--prefill-tokens", type=int, default=512)
    parser.add_argument("--rows", default=",".join(ROWS), help="which of these")
    parser.add_argument("--peer-tokens", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="accelerate", help="accelerate, or none")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=1200)
    parser.add_argument("--python", default=sys.executable, help="has torch, transformers, accelerate")
    parser.add_argument("--shoehorn", type=Path, default=Path("build/release/shoehorn"))
    parser.add_argument("--out", type=Path, help="the full record, as JSON")
    parser.add_argument("--doc", type=Path, help="docs/benchmarks.md: replace this run's section there")
    options, extra = parser.parse_known_args()
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options, extra


def main() -> int:
    options, extra = parse()
    maker = Path(__file__).with_name("make_checkpoint.py")
    subprocess.run([sys.executable, maker, "--shape", options.shape], check=True)
    model = machine.bench_folder() / f"{options.shape}-bf16"
    folder = machine.bench_folder() / "accelerate-offload"
    file = largest_file(model)
    record: dict = {key: [] for key in ("busy", "own", "fio", "accelerate", *ROWS)}
    for number in range(options.rounds):
        record["busy"].append(machine.busy_share(1.0))
        drop_page_cache()
        record["own"].append(probe_own(options, file))
        record["fio"].append({"gb_s": probe_fio(file)})
        for form in FORMS:
            if form in options.rows:
                record[form].append(run_decode(options, model, form, extra))
        if "prefill" in options.rows:
            record["prefill"].append(run_prefill(options, model))
        if "first-token" in options.rows:
            record["first-token"].append(run_first_token(options, model))
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
    return 1 if any("problem" in run for row in ROWS for run in record[row]) else 0


if __name__ == "__main__":
    sys.exit(main())
