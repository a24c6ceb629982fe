"""Calls the shoehorn binary, and finds the folder that transformers reads for the same weights."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="checkpoint folder or .gguf file")
    parser.add_argument("--reference", type=Path, help="folder that transformers reads (default: the same)")
    parser.add_argument("--shoehorn", type=Path, default=ROOT / "build/release/shoehorn", help="the binary")
    parser.add_argument(
        "--options", default="--dtype float32", help="given to shoehorn (default: --dtype float32)"
    )


def call(args: argparse.Namespace, verb: str, *more: object) -> str:
    """Runs `shoehorn VERB MODEL ...`; its stdout. What it says on stderr passes through."""
    command = [args.shoehorn, verb, args.model, *more, *shlex.split(args.options)]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(map(str, command))}: exit code {done.returncode}")
    return done.stdout


def call_json(args: argparse.Namespace, verb: str, *more: object) -> dict:
    return json.loads(call(args, verb, *more, "--json"))


@contextlib.contextmanager
def reference_folder(args: argparse.Namespace):
    """The model itself, or for a GGUF file a folder of its values decoded to float32, removed afterwards."""
    if args.reference or args.model.is_dir():
        yield args.reference or args.model
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "decoded"
        script = ROOT / "bench/gguf_to_hf.py"
        subprocess.run([sys.executable, script, args.model, folder, "--dtype", "f32"], check=True)
        yield folder
