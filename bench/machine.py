"""What this machine is and how busy it is: the head of every table of measurements."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path

INTERESTING_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx512vbmi",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
)


def bench_folder() -> Path:
    """Where checkpoints, conversions and records go: ${TMPDIR:-/tmp}/shoehorn-bench."""
    return Path(tempfile.gettempdir()) / "shoehorn-bench"


def cpuinfo() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }


def meminfo_bytes(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def describe() -> dict:
    info = cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    identity = " ".join(info[key] for key in ("cpu family", "model", "stepping") if key in info)
    return {
        "processor": info.get("model name", platform.processor())
        + (f" (family, model, stepping {identity})" if identity else ""),
        "features": [flag for flag in INTERESTING_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": meminfo_bytes("MemTotal"),
        "kernel": platform.release().split("-")[0],
        "system": os_name(),
    }


def os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def cpu_ticks() -> tuple[int, int]:
    """(busy, all) since start, over every core."""
    fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def busy_share(seconds: float = 0.4) -> float:
    """The share of all cores that others use right now; our own side sleeps while this looks."""
    busy, total = cpu_ticks()
    time.sleep(seconds)
    busy_after, total_after = cpu_ticks()
    return (busy_after - busy) / max(1, total_after - total)


def wait_until_idle(limit_s: float, below: float = 0.05) -> float:
    """Waits until others use less than `below` of the cores, or limit_s is over; the last share seen."""
    end = time.monotonic() + limit_s
    while (share := busy_share()) >= below and time.monotonic() < end:
        time.sleep(1)
    return share


def read_through(path: Path) -> None:
    """Brings a file, or all files of a folder, into the page cache."""
    buffer = bytearray(1 << 22)
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with open(file, "rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass
