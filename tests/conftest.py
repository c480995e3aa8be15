"""Fixtures for tests that talk to servers: one embedded stack for the whole session, unique names in it."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell import secret_references, settings
from clearwell.contract.load import contract_files
from clearwell.kafka import admin
from clearwell.local import stack as embedded
from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support import missing
from tests.support.platform import Platform
from tests.support.publishing import publish_contract
from tests.support.superuser import let_tests_make_roles

SCHEMAS = Path(__file__).parents[1] / "schemas"


def pytest_configure() -> None:
    """Tests make files and variables of their own, and name them in configurations."""
    os.environ.setdefault(secret_references.NAMES, "*")
    os.environ.setdefault(secret_references.FOLDERS, "/")


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """The three servers (no services of ours), started at first use and ended after the last test.

    CLEARWELL_TEST_HOME names a data folder to use and to leave running, so that the next run starts at once.
    Tests share it: take names of topics, tables, collections and groups from `unique`.
    """
    kept = os.environ.get("CLEARWELL_TEST_HOME")
    home = Path(kept).absolute() if kept else Path(tempfile.mkdtemp(prefix="clearwell-test-"))
    try:
        embedded.up(home, services=False, schemas=SCHEMAS, test_commands=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLEARWELL_HOME", str(home))  # its passwords are there, for processes that tests start, too
            found = settings.load(os.environ | {"CLEARWELL_SCHEMAS": str(SCHEMAS)})
            let_tests_make_roles(found)
            migrate(found.postgres)  # accounts begin at what the registry knows of a stream's connectors
            for path in contract_files(SCHEMAS):
                publish_contract(found.postgres, path)
            yield found
    finally:
        admin.close()
        if not kept:
            embedded.down(home, wipe=True)
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names that no other test has: `unique("flights")` is a legal stream, topic, table and collection name."""
    return lambda base: f"{base}_{uuid.uuid4().hex[:10]}"


@pytest.fixture
def platform(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Platform]:
    """The flights contract under a name of its own; start its services with `platform.start`."""
    one = Platform(stack, tmp_path, unique("flights"))
    yield one
    one.close()


@pytest.fixture
def platform_of(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[[str], Platform]]:
    """Makes a platform of another contract: YAML in which `$stream` stands for the name."""
    made: list[Platform] = []

    def make(contract: str) -> Platform:
        made.append(Platform(stack, tmp_path / f"platform{len(made)}", unique("stream"), contract))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The suite ends with what was skipped, and how to get what those tests need."""
    reports = terminalreporter.stats.get("skipped", [])
    lines = missing.summary(report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple))
    if lines:
        terminalreporter.section("skipped")
        for line in lines:
            terminalreporter.line(line)
