#!/usr/bin/env python3
"""What guessing ahead is worth: decode rates with and without --prompt-lookup (or --draft), on a text
that repeats its prompt and on one that does not, with the layers on a slow drive and in memory.

    bench/speculation.py ~/.cache/shoehorn/models/SmolLM2-135M-Instruct.Q4_1.gguf [--rate 100]
    bench/speculation.py LARGE --draft SMALL

The drive is slowed by slow_reads.c, which needs a C compiler: every run reads at --rate MB/s, whatever
the machine's drive and page cache do. Runs with and without take turns; the ids must be the same. Prints
a table for docs/benchmarks.md; --json prints the numbers.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

LIST = """1. Mercury: 57.9 million km, 88 days, no moons
2. Venus: 108.2 million km, 224.7 days, no moons
3. Earth: 149.6 million km, 365.2 days, one moon
4. Mars: 227.9 million km, 687 days, two moons
5. Jupiter: 778.6 million km, 4331 days, many moons
6. Saturn: 1433.5 million km, 10747 days, many moons
7. Uranus: 2872.5 million km, 30589 days, many moons
8. Neptune: 4495.1 million km, 59800 days, many moons
"""
TASKS = {
    # The model is asked to say its prompt again.
    "repeats": (
        f"<|im_start|>user\nRepeat this list exactly as it is:\n{LIST}<|im_end|>\n"
        f"<|im_start|>assistant\n{LIST.splitlines()[0]}\n",
        ["--ignore-eos"],
    ),
    # Sampled at temperature 1, so that it does not fall into repeating itself.
    "does not": (
        "<|im_start|>user\nWrite a story about a lighthouse keeper and a storm.<|im_end|>\n"
        "<|im_start|>assistant\nThe night",
        ["--ignore-eos", "--do-sample", "true", "--temperature", "1", "--seed", "7"],
    ),
}
PLACES = {
    "layers on disk": '{"": "cpu", "model.layers": "disk"}',
    "in memory": "cpu",
}


def build_slow_reads(folder):
    library = pathlib.Path(folder) / "slow_reads.so"
    source = pathlib.Path(__file__).with_name("slow_reads.c")
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True
    )
    return library


def run(options, place, task, guess, library):
    prompt, flags = TASKS[task]
    command = [options.shoehorn, "run", options.model, "--device-map", PLACES[place], "-p", prompt]
    command += ["--max-new-tokens", str(options.tokens), "--max-context", "1024", "--json", *flags]
    if guess:
        command += ["--draft", options.draft] if options.draft else ["--prompt-lookup"]
    environment = dict(os.environ)
    if place == "layers on disk":
        environment |= {
            "SLOW_READS": str(options.rate * 1e6),
            "LD_PRELOAD": str(library),
            "SHOEHORN_IO": "pread-buffered",
        }
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(options, place, task, library):
    rates = {False: [], True: []}
    ids = {}
    for _ in range(options.repeat):
        for guess in (False, True):
            result = run(options, place, task, guess, library)
            ids.setdefault(guess, result["ids"])
            rates[guess].append(result["stats"]["decode_tok_s"])
    plain, guessed = (statistics.median(rates[guess]) for guess in (False, True))
    return {
        "place": place,
        "task": task,
        "plain_tok_s": plain,
        "guessed_tok_s": guessed,
        "ratio": guessed / plain,
        "same_ids": ids[False] == ids[True],
        **result["stats"]["speculation"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--draft", help="a draft model in place of prompt lookup")
    parser.add_argument("--shoehorn", default="build/release/shoehorn")
    parser.add_argument("--rate", type=float, default=100, help="of the slowed drive, MB/s")
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = build_slow_reads(folder)
        rows = [measure(options, place, task, library) for place in PLACES for task in TASKS]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("| weights | the text repeats its prompt | plain tok/s | guessing | ratio | guesses right | off |")
        print("|---|---|---|---|---|---|---|")
        for row in rows:
            print(
                f"| {row['place']} | {row['task']} | {row['plain_tok_s']:.1f} | {row['guessed_tok_s']:.1f} "
                f"| {row['ratio']:.2f} | {row['accepted']} of {row['drafted']} in {row['passes']} passes "
                f"| {'yes' if row['switched_off'] else 'no'} |"
            )
    if not all(row["same_ids"] for row in rows):
        sys.exit("the ids differ with and without guessing")


if __name__ == "__main__":
    main()
