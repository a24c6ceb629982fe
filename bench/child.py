"""Runs one command in a process group of its own: pinned, timed out, its peak memory known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Outcome:
    result: dict | None  # the last line of stdout, if it is a JSON object, or the whole of it
    problem: str  # why there is none, in a few words
    peak_rss_bytes: int = 0
    wall_s: float = 0.0


def environment(threads: int, extra: dict[str, str] | None = None) -> dict[str, str]:
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **os.environ,
        **{name: str(threads) for name in pools},
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "COMPARE_STARTED": repr(time.monotonic()),
        "TOKENIZERS_PARALLELISM": "false",
        **(extra or {}),
    }


def last_object(text: str) -> dict | None:
    for part in (text, text.strip().rsplit("\n", 1)[-1]):
        try:
            found = json.loads(part)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing said why"


def run(
    command: list,
    threads: int,
    timeout_s: float,
    extra_env: dict[str, str] | None = None,
    log: Path | None = None,
) -> Outcome:
    """Runs the command on the first `threads` cores this process may use."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    start = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(threads, extra_env),
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        except OSError as error:
            return Outcome(None, f"cannot be started: {error.strerror}")
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(timeout_s, give_up)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        timer.cancel()
        wall_s = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        said, complained = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if log:
        with open(log, "a") as file:
            file.write(f"$ {' '.join(map(str, command))}\n{said}{complained}\n")
    outcome = Outcome(None, "", usage.ru_maxrss * 1024, wall_s)
    if timed_out.is_set():
        outcome.problem = f"no answer within {timeout_s:.0f} s"
    elif child.returncode < 0:
        outcome.problem = f"crashed ({signal.Signals(-child.returncode).name})"
    elif child.returncode > 0:
        outcome.problem = f"failed: {last_words(complained or said)}"
    else:
        outcome.result = last_object(said)
        if outcome.result is None:
            outcome.problem = f"no JSON on stdout: {last_words(said)}"
    return outcome
