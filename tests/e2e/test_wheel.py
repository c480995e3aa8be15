"""What pip installs is the platform: servers, services, all kinds of source and the demo, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from clearwell.plugins.kinds import kinds, source_class
from clearwell.plugins.options import summary_of
from tests.support.platform import CHECKOUT
from tests.support.wheel import build_wheel, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # half a minute on a machine that does nothing else

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def clearwell(wheel: Path, tmp_path: Path) -> Iterator[Run]:
    """Runs a command of the installed wheel in an empty folder and returns its answer; ends what it has started."""
    python = install(wheel, tmp_path / "venv", "local")
    cache = {name: value for name, value in os.environ.items() if name in ("HOME", "PATH", "CLEARWELL_CACHE")}
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(*arguments: str) -> Any:
        command = [python, "-P", "-m", "clearwell.cli.main", *arguments, "--json"]
        done = subprocess.run(command, cwd=folder, env=cache, capture_output=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    try:
        yield run
    finally:
        run("down", "--wipe")


def test_the_installed_wheel_is_the_platform(clearwell: Run) -> None:
    loaded = {name: summary_of(source_class(name)) for name in kinds()}
    assert {row["kind"]: row["summary"] for row in clearwell("connector", "spec")["kinds"]} == loaded
    assert len(loaded) >= 11
    done = clearwell("demo", "--events", "300")
    assert done["balanced"]
    assert (done["clean"], done["postgres"], done["mongo"], done["backfilled"]) == (300,) * 4


def test_beside_modules_it_holds_exactly_the_files_that_are_listed(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist() if ".dist-info/" not in name}
        contract = archive.read("clearwell/demo/flights.yaml")
    assert contract == (CHECKOUT / "schemas/flights/v1.yaml").read_bytes()
    assert {str(name) for name in names if name.suffix != ".py"} == {
        "clearwell/py.typed",
        "clearwell/demo/flights.yaml",
        "clearwell/local/pins.toml",
    }
    modules = {path for room in ("clearwell", "connectors", "services") for path in Path(CHECKOUT, room).rglob("*.py")}
    assert {path.relative_to(CHECKOUT) for path in modules} == {name for name in names if name.suffix == ".py"}
