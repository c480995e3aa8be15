"""The image's lock file: part of the whole lock, all that the library needs, nothing for development."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
AGAIN = "run scripts/lock"


def locked(file: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package with its version and hashes."""
    found = {}
    for block in re.split(r"\n(?=[a-z0-9])", (ROOT / file).read_text()):
        name, _, rest = block.partition("==")
        found[name] = rest.split()[0], frozenset(re.findall(r"--hash=(\S+)", block))
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~!; ]", one)[0].lower() for one in requirements}


def test_it_is_a_part_of_the_whole_lock() -> None:
    whole, image = locked("requirements.lock"), locked("deploy/requirements.lock")
    assert all(hashes for _, hashes in image.values())
    assert image.items() <= whole.items(), AGAIN


def test_it_holds_what_the_library_needs_and_nothing_for_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    image = locked("deploy/requirements.lock")
    assert names(project["dependencies"]) <= image.keys(), AGAIN
    extras = set[str]().union(*(names(more) for more in project["optional-dependencies"].values()))
    assert not (extras - names(project["dependencies"])) & image.keys(), AGAIN
