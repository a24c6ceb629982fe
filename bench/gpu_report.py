#!/usr/bin/env python3
"""Turns a record of gpu.py into a section of docs/benchmarks.md, in place of its earlier version.

    python3 bench/gpu_report.py gpu.json [--doc docs/benchmarks.md] [--name NAME]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from llama_shape import SHAPES
from report import number, replace_section, shape_words, table

FORMS = ("bf16", "int8", "nf4")
PEER_NAMES = {"bf16": "transformers", "int8": "bitsandbytes int8", "nf4": "bitsandbytes nf4"}


def percent(value: float | None) -> str:
    return f"{value:.0%}" if value is not None else "–"


def ratio(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.1f}" if ours and theirs else "–"


def model_rows(record: dict) -> list[list[str]]:
    rows = []
    for form in FORMS:
        ours, theirs = record["figures"].get(form, {}), record["figures"].get(f"peer-{form}", {})
        pair = ((form, f"shoehorn {form}", ours), (f"peer-{form}", PEER_NAMES[form], theirs))
        for name, label, found in pair:
            step = record["steps"].get(name)
            if step is None:
                continue
            if not found:
                rows.append([label, step["problem"], *[""] * 6])
                continue
            is_peer = found is theirs
            rows.append(
                [
                    label,
                    number(found.get("decode_tok_s")),
                    number(found.get("decode_gb_s")),
                    percent(found.get("decode_share")),
                    number(found.get("prefill_tok_s")),
                    number(found.get("prefill_tflop_s")),
                    percent(found.get("prefill_share")),
                    "" if is_peer else f"{times(ours, theirs, 'decode')}, {times(ours, theirs, 'prefill')}",
                ]
            )
    return rows


def times(ours: dict, theirs: dict, key: str) -> str:
    return ratio(ours.get(f"{key}_tok_s"), theirs.get(f"{key}_tok_s"))


def offload_rows(record: dict) -> list[list[str]]:
    rows = []
    for name, step in record["steps"].items():
        if not name.startswith("offload-"):
            continue
        found = record["figures"].get(name)
        batch = name.removeprefix("offload-")
        if not found:
            rows.append([batch, step["problem"], *[""] * 5])
            continue
        rows.append(
            [
                batch,
                number(found["decode_tok_s"]),
                number(found["host_bytes"] / 1e9),
                number(found["host_gb_s"]),
                percent(found["link_share"]),
                percent(found.get("both_share")),
                number(found["prefill_tok_s"]),
            ]
        )
    return rows


def kernel_rows(record: dict) -> list[list[str]]:
    rows = []
    best = record["rates"]
    for case in (record["steps"].get("kernels", {}).get("result") or {}).get("cases", []):
        moved, computed = case["gb_s"] or None, case["tflop_s"] or None
        rows.append(
            [
                f"`{case['name']}`",
                number(case["us"]),
                number(moved),
                percent(moved / best["copy_gb_s"] if moved and "copy_gb_s" in best else None),
                number(computed),
                percent(computed / best["matrix_tflop_s"] if computed and "matrix_tflop_s" in best else None),
            ]
        )
    return rows


def machine_lines(record: dict) -> list[str]:
    about = record["machine"]
    cuda = (record["steps"].get("doctor", {}).get("result") or {}).get("cuda", {})
    versions = ""
    if cuda.get("driver"):
        versions = f", driver for CUDA {cuda['driver']}, built with {cuda['runtime']}"
    named = {
        "copy_gb_s": "card's memory {} GB/s (copies, read and written)",
        "matrix_tflop_s": "bfloat16 products {} TFLOP/s (square, 8192 at most)",
        "link_gb_s": "host to card {} GB/s",
        "link_back_gb_s": "card to host {} GB/s",
        "host_gb_s": "host memory read {} GB/s",
        "host_beside_link_gb_s": "host memory read {} GB/s while the link copied from it",
        "link_beside_host_gb_s": "the link then {} GB/s",
    }
    rates = record["rates"]
    measured = [words.format(number(rates[key])) for key, words in named.items() if key in rates]
    return [
        f"{record['card'] or 'no card'}{versions}; {about['processor']}, {about['cores']} cores, "
        f"{about['memory_bytes'] / 2**30:.0f} GiB; {about['system']}, Linux {about['kernel']}; "
        f"{record['date']}.",
        f"Measured at best in the same call: {', '.join(measured)}." if measured else "No rate was measured.",
    ]


def checks(record: dict) -> list[str]:
    lines = []
    for name in ("tests", "memcheck", "racecheck"):
        step = record["steps"].get(name)
        if step is None:
            continue
        result = step.get("result") or {}
        kinds = ("passed", "failed", "skipped")
        words = ", ".join(f"{result[key]} {key}" for key in kinds if result.get(key))
        said = "; ".join(part for part in (words, result.get("summary"), step["problem"]) if part)
        lines.append(f"* `{step.get('command', name)}`: {said} ({step['seconds']:.0f} s)")
    return lines


def commands(record: dict) -> list[str]:
    # Paths of that machine say nothing elsewhere.
    return [
        re.sub(r"\S*/(build/|bench/)", r"\1", step["command"])
        for step in record["steps"].values()
        if step.get("command")
    ]


def section(record: dict) -> str:
    settings = record["settings"]
    shape, large = SHAPES[settings["shape"]], SHAPES[settings["offload_shape"]]
    lines = [f"## {record['card'] or 'No card'}", "", *machine_lines(record), ""]
    models = model_rows(record)
    if models:
        lines += [
            f"{settings['shape']}, {shape_words(shape)}, on the card; one sequence, prefill of "
            f"{settings['prompt_tokens']} tokens, {settings['gen_tokens']} decoded after them:",
            "",
            *table(
                [
                    "engine, weights",
                    "decode tok/s",
                    "GB/s",
                    "of bandwidth",
                    "prefill tok/s",
                    "TFLOP/s",
                    "of matrix rate",
                    "times faster: decode, prefill",
                ],
                models,
            ),
            "",
        ]
    offloaded = offload_rows(record)
    if offloaded:
        lines += [
            f"{settings['offload_shape']}, {shape_words(large)}, bfloat16, `--max-memory "
            f"{settings['offload_memory']}`:",
            "",
            *table(
                [
                    "batch",
                    "decode tok/s",
                    "GB in host memory",
                    "GB/s of them",
                    "of the link's rate",
                    "of link and host together",
                    "prefill tok/s",
                ],
                offloaded,
            ),
            "",
        ]
    kernels = kernel_rows(record)
    if kernels:
        lines += [
            "<details><summary>Kernels</summary>",
            "",
            *table(["case", "us", "GB/s", "of bandwidth", "TFLOP/s", "of matrix rate"], kernels),
            "",
            "</details>",
            "",
        ]
    lines += [*checks(record), "", "<details><summary>Commands</summary>", "", "```"]
    lines += [*commands(record), "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path)
    parser.add_argument("--doc", type=Path, help="the file whose section is replaced; without it, stdout")
    parser.add_argument("--name", default="", help="of the section; default: gpu and the card's name")
    args = parser.parse_args()
    record = json.loads(args.record.read_text())
    text = section(record)
    if args.doc is None:
        print(text, end="")
        return
    card = re.sub(r"[^a-z0-9]+", "-", record["card"].lower()).strip("-")
    document = args.doc.read_text() if args.doc.exists() else "# Benchmarks\n"
    args.doc.write_text(replace_section(document, args.name or f"gpu-{card}", text))
    print(f"{args.doc}: section {args.name or f'gpu-{card}'}")


if __name__ == "__main__":
    main()
