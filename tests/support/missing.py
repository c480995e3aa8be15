"""What a machine may lack: tests that need it skip with what it is and how to get it, and the suite ends with a list.

CLEARWELL_TEST_WITHOUT names programs (separated by commas) that are taken for missing although they are installed, so
that one run can show that nothing but Python is needed.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

MARK = "needs "
VARIABLE = "CLEARWELL_TEST_WITHOUT"
SERVER_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Not everybody's PATH leads there."""


def program(name: str) -> str | None:
    """Where a program is; None where it is missing, or taken for it."""
    return None if is_hidden(name) else shutil.which(name) or shutil.which(name, path=SERVER_FOLDERS)


def is_hidden(name: str) -> bool:
    """Whether a program is to be taken for missing."""
    return name in os.environ.get(VARIABLE, "").split(",")


def skip_without(what: str, how: str) -> NoReturn:
    """Skip the test: it needs `what`, which one gets by `how`."""
    pytest.skip(f"{MARK}{what}: {how}")


def summary(reasons: Iterable[str]) -> list[str]:
    """A line for each group of tests that were skipped, of the `reasons` why: first what can be mended by `how`."""
    counts = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
    lacking = {reason: count for reason, count in counts.items() if reason.startswith(MARK)}
    lines = [f"{_tests(count)} skipped: {reason}" for reason, count in sorted(lacking.items())]
    others = counts.total() - sum(lacking.values())
    if others:
        lines.append(f"{_tests(others)} skipped: what they prove is no promise of that source or store (pytest -rs)")
    return lines


def _tests(count: int) -> str:
    return f"{count} test{'s' if count != 1 else ''}"
