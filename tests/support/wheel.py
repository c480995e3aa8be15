"""The wheel of this checkout, in an environment that holds it and what it asks for, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

from tests.support.platform import CHECKOUT


def build_wheel(folder: Path) -> Path:
    """Build the wheel into `folder`."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=CHECKOUT, check=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path, *extras: str) -> Path:
    """Make an environment of the wheel with these extras; returns its Python.

    What the wheel's metadata asks for is linked from where these tests run: as pip would install it, without minutes of
    network, and a package that nobody asks for is missing.
    """
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    (metadata,) = packages.glob("clearwell-*.dist-info")
    for dependency in closure(Distribution.at(metadata), extras):
        _link(dependency, packages)
    return folder / "bin" / "python"


def closure(root: Distribution, extras: Iterable[str]) -> list[Distribution]:
    """All that a distribution asks for, and what these ask for, here and now."""
    met: dict[tuple[str, str], Distribution] = {}
    waiting = [(root, extra) for extra in ("", *extras)]
    while waiting:
        parent, extra = waiting.pop()
        for text in parent.requires or ():
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            for more in ("", *requirement.extras):
                if (requirement.name, more) not in met:
                    met[requirement.name, more] = distribution(requirement.name)
                    waiting.append((met[requirement.name, more], more))
    return list({found.name: found for found in met.values()}.values())


def _link(dependency: Distribution, packages: Path) -> None:
    for file in dependency.files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        source = Path(str(file.locate()))
        _link_file(source, packages / file)
        if file.suffix == ".py":  # compiled already: a second for each process that imports it
            compiled = Path(cache_from_source(source))
            if compiled.exists():
                _link_file(compiled, packages / file.parent / "__pycache__" / compiled.name)


def _link_file(source: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, link)
    except FileExistsError:
        return
    except OSError:  # the tests' folder is on another disk
        shutil.copy2(source, link)
