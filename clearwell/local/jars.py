"""The jars of the embedded Kafka in a per-user cache: each is there whole and checked, or not there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.local.pins import Jar, Pins

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, of how much in all (bytes of a download, processes of a start)."""

DOWNLOADING = "downloading Kafka"


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """CLEARWELL_CACHE, else `clearwell` in the user's cache folder (XDG base directories)."""
    if env.get("CLEARWELL_CACHE"):
        return Path(env["CLEARWELL_CACHE"]).absolute()
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clearwell"


def fetch(pins: Pins, progress: Progress, cache: Path | None = None) -> list[Path]:
    """The paths of all pinned jars, downloading those that are missing; an interrupted download goes on here.

    Raises Retryable when the network fails, ConfigError when the cache can't be written, Fatal on a wrong checksum.
    """
    folder = (cache or cache_folder()) / "jars"
    paths = [folder / jar.file_name for jar in pins.jars]
    if all(path.exists() for path in paths):
        return paths
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / "lock"):
            _fetch_missing(pins, folder, progress)
    except OSError as error:
        raise ConfigError(
            f"The cache folder {folder} can't be written ({error.strerror or error}): "
            "mend that, or set CLEARWELL_CACHE to another folder."
        ) from error
    return paths


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch_missing(pins: Pins, folder: Path, progress: Progress) -> None:
    total = sum(jar.size for jar in pins.jars)
    done = 0
    incoming = folder.parent / "incoming"
    for jar in pins.jars:
        target = folder / jar.file_name
        if not target.exists():
            _download(jar, incoming, partial(_report, progress, done, total))
            _checked(jar, incoming).replace(target)
        done += jar.size
        progress(DOWNLOADING, done, total)
    shutil.rmtree(incoming, ignore_errors=True)


def _report(progress: Progress, before: int, total: int, count: int) -> None:
    progress(DOWNLOADING, before + count, total)


def _download(jar: Jar, incoming: Path, seen: Callable[[int], None]) -> None:
    """One jar into the folder `incoming`, emptied first: jgo takes a file it finds there for complete."""
    import requests
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def watch(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        count = 0

        def update(size: int) -> None:
            nonlocal count
            count += size
            seen(count)

        yield update

    shutil.rmtree(incoming, ignore_errors=True)
    context = MavenContext(resolver=PythonResolver(progress_callback=watch), repo_cache=incoming, timeout=30)
    try:
        context.create_dependency(jar.coordinates).artifact.resolve()
    except (requests.RequestException, RuntimeError) as error:
        raise Retryable(
            f"{jar.coordinates} could not be downloaded ({type(error).__name__}): check the network and run the same "
            "command again; what has arrived is kept."
        ) from error


def _checked(jar: Jar, incoming: Path) -> Path:
    downloaded = next(incoming.rglob(jar.file_name))
    if hashlib.sha256(downloaded.read_bytes()).hexdigest() != jar.sha256:
        downloaded.unlink()
        raise Fatal(f"{jar.coordinates} is not the pinned file: its SHA-256 differs. Nothing of it is used.")
    return downloaded
