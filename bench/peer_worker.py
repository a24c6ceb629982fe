#!/usr/bin/env python3
"""Loads and times one engine in a process of its own; compare.py starts it and reads its last line.

    peer_worker.py prepare PEER FORM MODEL FOLDER
        -> {"path", "bytes"}
    peer_worker.py measure PEER FORM PATH --threads N --vocab-size V --prompts 512+1,128+65
        -> {"load_s", "start_to_token_s", "runs", "notes"}

A run P+T feeds P ids and picks T tokens: seconds to the first token, then seconds for the other T-1.
start_to_token_s is what a person waits: from starting the process, imports and loading included, to one
token after a prompt of two; compare.py says in COMPARE_STARTED when it started the process.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers import PEERS, Limits

WARM_UP_TOKENS = 4


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


def prompt(length: int, vocab_size: int, seed: int) -> list[int]:
    """Random ids away from the special ones at the start; no two runs share a prefix worth caching."""
    draw = random.Random(seed)
    return [draw.randrange(min(16, vocab_size - 1), vocab_size) for _ in range(length)]


def prepare(args: argparse.Namespace) -> dict:
    module = importlib.import_module("peers." + PEERS[args.peer].module)
    path = module.prepare(args.model, args.form, args.folder)
    return {"path": str(path), "bytes": size_of(path)}


def measure(args: argparse.Namespace) -> dict:
    module = importlib.import_module("peers." + PEERS[args.peer].module)
    lengths = [tuple(map(int, run.split("+"))) for run in args.prompts.split(",")]
    limits = Limits(args.threads, max(sum(run) for run in lengths), args.max_memory, args.offload_folder)
    named = {"peer": args.peer} if "peer" in inspect.signature(module.Engine).parameters else {}
    if hasattr(module, "import_everything"):
        module.import_everything(args.peer)
    start = time.perf_counter()
    engine = module.Engine(args.path, args.form, limits, **named)
    load_s = time.perf_counter() - start
    engine.generate(prompt(2, args.vocab_size, -1), 1)
    start_to_token_s = (
        time.monotonic() - float(os.environ["COMPARE_STARTED"]) if "COMPARE_STARTED" in os.environ else None
    )
    runs = []
    for number, (fed, picked) in enumerate(lengths):
        # The same lengths first, so that every buffer exists and every kernel is chosen.
        engine.generate(prompt(fed, args.vocab_size, 2 * number), min(picked, WARM_UP_TOKENS))
        ids = prompt(fed, args.vocab_size, 2 * number + 1)
        start = time.perf_counter()
        times = engine.generate(ids, picked)
        if len(times) != picked:
            raise RuntimeError(f"asked for {picked} tokens, {len(times)} came")
        runs.append(
            {
                "prompt_tokens": fed,
                "first_token_s": times[0] - start,
                "more_tokens": picked - 1,
                "more_tokens_s": times[-1] - times[0],
            }
        )
    return {"load_s": load_s, "start_to_token_s": start_to_token_s, "runs": runs, "notes": engine.notes}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    first = actions.add_parser("prepare")
    second = actions.add_parser("measure")
    for action in (first, second):
        action.add_argument("peer", choices=PEERS)
        action.add_argument("form")
    first.add_argument("model", type=Path)
    first.add_argument("folder", type=Path)
    second.add_argument("path", type=Path)
    second.add_argument("--threads", type=int, required=True)
    second.add_argument("--prompts", required=True)
    second.add_argument("--vocab-size", type=int, required=True)
    second.add_argument("--max-memory", default="")
    second.add_argument("--offload-folder", default="")
    args = parser.parse_args()
    result = prepare(args) if args.action == "prepare" else measure(args)
    print("\n" + json.dumps(result), flush=True)
    os._exit(0)  # some engines take seconds, or crash, while they tear themselves down


if __name__ == "__main__":
    main()
