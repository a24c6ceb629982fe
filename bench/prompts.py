#!/usr/bin/env python3
"""How much many prompts gain from sharing passes over the weights: new tokens a second of N prompts
at once (`shoehorn run --prompts`) against one prompt alone, under the same options.

    bench/prompts.py build/release/shoehorn MODEL --max-memory cpu=4GiB
    bench/prompts.py build/release/shoehorn --synthetic llama-2-7b --max-memory cpu=4GiB

What follows the options of this script goes to shoehorn. Prints one line of Markdown.
"""

import argparse
import json
import random
import re
import subprocess
import tempfile


def run(program, options, prompts, new_tokens):
    """New tokens a second of all prompts, which are rows of ids, and the seconds it took."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for ids in prompts:
            print(json.dumps({"ids": ids}), file=file)
        file.flush()
        done = subprocess.run(
            [program, "run", *options, "--prompts", file.name, "-n", str(new_tokens),
             "--max-batch", str(len(prompts)), "--ignore-eos", "--stats"],
            check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(prompts) and all(len(line["ids"]) == new_tokens for line in lines)
    rate = re.search(r"rate +([0-9.]+) new tok/s", done.stderr)
    seconds = re.search(r"prompts +\d+ in ([0-9.]+) s", done.stderr)
    return float(rate[1]), float(seconds[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=32000)
    args, options = parser.parse_known_args()
    choose = random.Random(1)
    rows = [[choose.randrange(3, args.vocab) for _ in range(args.prompt_tokens)]
            for _ in range(args.prompts)]
    one, one_s = run(args.program, options, rows[:1], args.new_tokens)
    all_, all_s = run(args.program, options, rows, args.new_tokens)
    print(f"| {args.prompts} prompts of {args.prompt_tokens} + {args.new_tokens} tokens | "
          f"{one:.2f} tok/s alone ({one_s:.0f} s) | {all_:.2f} tok/s together ({all_s:.0f} s) | "
          f"{all_ / one:.1f} x |")


if __name__ == "__main__":
    main()
