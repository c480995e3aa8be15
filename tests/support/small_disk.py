"""A file system of a few megabytes, to be really full; mounting one needs root, and a test is skipped without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.missing import skip_without

PIECE = 4096


class SmallDisk:
    """`folder` is on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Use all of it up but `leave` bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            while self.free > leave:
                file.write(b"x" * PIECE)

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounted at `folder`, which is made, and unmounted whatever happens; skips the test where that is refused."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        skip_without("the right to mount a small file system", "run the tests as root")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: what a failed test left open must not keep it mounted.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
