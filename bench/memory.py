#!/usr/bin/env python3
"""Is max_memory a promise? Runs a model under several limits, each inside a memory cgroup of exactly
that limit, and compares the peak that was predicted with the peak that was measured.

    bench/memory.py MODEL --limits 700MiB,1GiB,1500MiB,3GiB [--shoehorn build/release/shoehorn]

Needs root, and a writable memory cgroup (v1 or v2). A run that the kernel kills, or whose predicted
and measured peaks are further apart than 2 % + 64 MiB, fails the script.
"""

import argparse
import json
import subprocess
import sys

from cgroup import Cgroup, parse_size


def run(arguments, limit):
    """The run's JSON, or the exit status where there is none."""
    with Cgroup(parse_size(limit)) as group:
        result = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=group.enter)
    if result.returncode != 0:
        return None, f"exit {result.returncode}: {result.stderr.strip()[-300:]}"
    return json.loads(result.stdout), None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--limits", required=True)
    parser.add_argument("--shoehorn", default="build/release/shoehorn")
    parser.add_argument("--new-tokens", type=int, default=8)
    options, extra = parser.parse_known_args()
    failed = False
    print("| limit | streamed a token | predicted | measured | apart |\n|---|---|---|---|---|")
    for limit in options.limits.split(","):
        ids = ",".join(str(i) for i in range(5, 69))
        stats, error = run(
            [
                options.shoehorn,
                "run",
                options.model,
                "--ids",
                ids,
                "--json",
                "--ignore-eos",
                "--max-new-tokens",
                str(options.new_tokens),
                "--max-memory",
                f"cpu={limit}",
                *extra,
            ],
            limit,
        )
        if error:
            print(f"| {limit} | {error} | | | |")
            failed = True
            continue
        stats = stats["stats"]
        predicted, measured = (stats["peak_bytes"][key] for key in ("predicted", "measured"))
        apart = measured - predicted
        bad = abs(apart) > 0.02 * parse_size(limit) + (64 << 20) or measured > parse_size(limit)
        failed = failed or bad
        print(
            f"| {limit} | {stats['disk_bytes_per_token'] / (1 << 20):.0f} MiB "
            f"| {predicted / (1 << 20):.1f} MiB | {measured / (1 << 20):.1f} MiB "
            f"| {apart / (1 << 20):+.1f} MiB{' FAILED' if bad else ''} |"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
