"""A control group for one process: its memory, and if asked how fast it may read a drive."""

import os
import pathlib
import re

ROOT = pathlib.Path("/sys/fs/cgroup")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_size(text):
    number, unit = re.fullmatch(r"([\d.]+)([KMG]iB)", text).groups()
    return int(float(number) * UNITS[unit])


def drive_of(path):
    """The number of the drive that holds a path, as the kernel's limits name it."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    link = pathlib.Path(f"/sys/dev/block/{number}").resolve()
    # A partition has no limits of its own.
    return (link.parent / "dev").read_text().strip() if (link / "partition").exists() else number


class Cgroup:
    """A group of its own (v1 or v2), removed at the end; needs root."""

    def __init__(self, limit, read_rate=None, path="."):
        """limit: bytes of memory; read_rate: bytes per second from the drive of `path`."""
        name = f"shoehorn-{os.getpid()}"
        self.folders = []
        if (ROOT / "memory/memory.limit_in_bytes").exists():
            self.path = self._make(ROOT / "memory" / name)
            (self.path / "memory.limit_in_bytes").write_text(str(limit))
            if read_rate:
                blkio = self._make(ROOT / "blkio" / name)
                (blkio / "blkio.throttle.read_bps_device").write_text(f"{drive_of(path)} {read_rate}")
        else:
            self.path = self._make(ROOT / name)
            (self.path / "memory.max").write_text(str(limit))
            (self.path / "memory.swap.max").write_text("0")
            if read_rate:
                (self.path / "io.max").write_text(f"{drive_of(path)} rbps={read_rate}")

    def _make(self, folder):
        folder.mkdir()
        self.folders.append(folder)
        return folder

    def __enter__(self):
        return self

    def enter(self):
        """Moves the calling process into the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def __exit__(self, *_):
        while self.folders:
            self.folders[-1].rmdir()
            self.folders.pop()
