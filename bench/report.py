"""Turns a record of compare.py into a section of docs/benchmarks.md, in place of its earlier version."""

from __future__ import annotations

import statistics
from pathlib import Path

from llama_shape import LlamaShape

GB = 1e9

# Bytes a weight, and of the head where an engine keeps it wider: scales of a block are counted in.
FORM_BYTES = {
    "f32": 4,
    "bf16": 2,
    "f16": 2,
    "int8": 1,
    "nf4": 0.5 + 4 / 64,
    "fp4": 0.5 + 4 / 64,
    "nf4-dq": 0.5 + 1 / 64 + 4 / (64 * 256),
    "nf4-float": 0.5 + 4 / 64,
    "nf4-bf16": 0.5 + 4 / 64,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
    "q4_1": 20 / 32,
    "q4_k": 144 / 256,
    "iq4_nl": 18 / 32,
}
HEAD_BYTES = {
    (engine, form): 2
    for engine in ("bitsandbytes", "shoehorn")
    for form in ("int8", "nf4", "nf4-dq", "nf4-float", "nf4-bf16", "fp4")
}
# Which of shoehorn's forms stand against an engine's; others stand against the same form, or the first.
RIVALS = {
    "q8_0": ("q8_0", "int8"),
    "q4_0": ("q4_0", "nf4", "nf4-float"),
    "q4_1": ("q4_1", "nf4"),
    "q4_k": ("q4_k", "nf4"),
    "iq4_nl": ("nf4",),
    "nf4": ("nf4", "nf4-float"),
}


def median(runs: list[dict], key: str) -> float | None:
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def probes(record: dict) -> dict[str, float]:
    """Medians over all of shoehorn's probes of this run."""
    seen: dict[str, list[float]] = {}
    for row in record["rows"]:
        for run in row["runs"]:
            for probe in run.get("probes", []):
                for key, value in probe.items():
                    if value:  # 0: not probed in that call
                        seen.setdefault(key, []).append(value)
    return {key: statistics.median(values) for key, values in seen.items()}


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return "–"
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{float(text):f}".rstrip("0").rstrip(".") if "e" in text else text


def with_spread(runs: list[dict], key: str) -> str:
    values = sorted(run[key] for run in runs)
    middle = number(median(runs, key))
    return middle if len(values) < 2 else f"{middle} ({number(values[0])}–{number(values[-1])})"


def share(value: float | None, limit: float | None) -> str:
    return f"{value / limit:.0%}" if value and limit else "–"


def bytes_per_token(record: dict, row: dict) -> float | None:
    """Weight bytes read for a decoded token in this row's form."""
    form = row["form"]
    if form == "auto":
        form = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}.get(
            record["config"].get("torch_dtype") or record["config"].get("dtype"), ""
        )
    if form not in FORM_BYTES:
        return None
    shape = LlamaShape.from_config(record["config"])
    return shape.decode_bytes(FORM_BYTES[form], HEAD_BYTES.get((row["engine"], form)))


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def result_rows(record: dict) -> list[list[str]]:
    limits = probes(record)
    shape = LlamaShape.from_config(record["config"])
    flops = shape.prefill_flops(record["settings"]["prompt_tokens"]) / record["settings"]["prompt_tokens"]
    lines = []
    for row in record["rows"]:
        runs = row["runs"]
        if not runs:
            lines.append([row["label"], row["problem"], *[""] * 8])
            continue
        decode, prefill = median(runs, "decode_tok_s"), median(runs, "prefill_tok_s")
        per_token = bytes_per_token(record, row)
        gb_s = decode * per_token / GB if per_token else None
        gflop_s = prefill * flops / 1e9
        lines.append(
            [
                row["label"],
                with_spread(runs, "decode_tok_s"),
                number(gb_s),
                share(gb_s, limits.get("memory_gb_s")),
                with_spread(runs, "prefill_tok_s"),
                number(gflop_s),
                share(gflop_s, limits.get("f32_gflops")),
                number(median(runs, "load_s")),
                number(median(runs, "start_to_token_s")),
                number(median(runs, "peak_rss_bytes") / GB),
            ]
        )
    return lines


def ratio_rows(record: dict) -> list[list[str]]:
    """shoehorn's median over each engine's: the row of the same form, else shoehorn's first."""
    ours = [row for row in record["rows"] if row["engine"] == "shoehorn" and row["runs"] and not row["isa"]]
    lines = []
    for row in record["rows"]:
        if row["engine"] == "shoehorn" or not row["runs"] or not ours:
            continue
        wanted = RIVALS.get(row["form"], (row["form"],))
        for same in [our for our in ours if our["form"] in wanted] or ours[:1]:
            times: list[str] = [
                f"{median(same['runs'], key) / median(row['runs'], key):.2f}"
                for key in ("decode_tok_s", "prefill_tok_s")
            ]
            for key in ("load_s", "start_to_token_s"):
                theirs, our = median(row["runs"], key), median(same["runs"], key)
                times.append(f"{theirs / our:.1f}" if theirs and our else "–")
            lines.append([same["label"], row["label"], *times])
    return lines


def machine_lines(record: dict) -> list[str]:
    about, limits = record["machine"], probes(record)
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['memory_bytes'] / 2**30:.1f} GiB; "
        f"{', '.join(about['features'])}; {about['system']}, Linux {about['kernel']}; {record['date']}."
    ]
    if limits:
        named = {
            "memory_gb_s": "memory read {} GB/s",
            "disk_gb_s": "disk read {} GB/s",
            "f32_gflops": "f32 FMA {} GFLOP/s",
        }
        lines.append(
            "Probed by `shoehorn bench` in the same run (medians): "
            + ", ".join(named.get(key, key + " {}").format(number(value)) for key, value in limits.items())
            + "."
        )
    else:
        lines.append("No probe of this machine: shoehorn gave none in this run.")
    busy = [run["others_busy"] for row in record["rows"] for run in row["runs"]]
    if busy and max(busy) > 0.05:
        lines.append(
            f"**Not alone**: other processes used up to {max(busy):.0%} of the processor "
            f"(median {statistics.median(busy):.0%}) before a measurement."
        )
    elif busy:
        lines.append(
            f"Other processes used at most {max(busy):.1%} of the processor before each measurement."
        )
    return lines


def shape_words(shape: LlamaShape) -> str:
    values = sum(spec.values for spec in shape.tensors())
    words = [
        f"{shape.num_hidden_layers} layers of {shape.hidden_size}",
        f"inner {shape.intermediate_size}",
        f"{shape.num_attention_heads} heads",
        f"{shape.num_key_value_heads} key/value heads",
        f"vocabulary {shape.vocab_size:,}",
    ]
    return (
        f"{values / 1e6:,.0f} M parameters: {', '.join(words)}{', tied' if shape.tie_word_embeddings else ''}"
    )


def settings_words(settings: dict) -> str:
    words = [
        f"{settings['threads']} threads",
        f"prefill of {settings['prompt_tokens']} tokens",
        f"{settings['gen_tokens']} tokens decoded after a prompt of {settings['decode_prompt_tokens']}",
        f"median of {settings['repetitions']} interleaved runs (lowest–highest)",
    ]
    if settings["max_memory"]:
        words.append(f"`--max-memory {settings['max_memory']}` for shoehorn and accelerate")
    return "; ".join(words)


def section(record: dict) -> str:
    settings = record["settings"]
    shape = LlamaShape.from_config(record["config"])
    lines = [
        f"## {record['model']}" + (f" under {settings['max_memory']}" if settings["max_memory"] else ""),
        "",
        f"{shape_words(shape)}. {settings_words(settings)}.",
        "",
        *machine_lines(record),
        "",
    ]
    lines += table(
        [
            "engine, weights",
            "decode tok/s",
            "GB/s",
            "of bandwidth",
            "prefill tok/s",
            "GFLOP/s",
            "of f32 peak",
            "load s",
            "start s",
            "peak GB",
        ],
        result_rows(record),
    )
    ratios = ratio_rows(record)
    if ratios:
        lines += [
            "",
            "How many times faster shoehorn is:",
            "",
            *table(["shoehorn", "than", "decode", "prefill", "load", "start"], ratios),
        ]
    lines += [
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in record["versions"].items()) + ".",
    ]
    notes = [f"{row['label']}: {row['notes']}" for row in record["rows"] if row["notes"]]
    if notes:
        lines += ["", "Notes: " + "; ".join(dict.fromkeys(notes)) + "."]
    lines += [
        "",
        "<details><summary>Commands</summary>",
        "",
        "```",
        *(command for row in record["rows"] for command in row["commands"]),
        "```",
        "",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def replace_section(document: str, name: str, text: str) -> str:
    """The document with the text between this name's markers; at its end where there are none yet."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    if begin in document and end in document:
        head, rest = document.split(begin, 1)
        return head + begin + text + end + rest.split(end, 1)[1]
    return document.rstrip("\n") + "\n\n" + begin + text + end


def publish(record: dict, doc: Path | None) -> None:
    text = section(record)
    if doc is None:
        print(text)
        return
    document = doc.read_text() if doc.exists() else "# Benchmarks\n"
    doc.write_text(replace_section(document, record["name"], text))
    print(f"{doc}: section {record['name']}")
