"""Every error Clearwell raises on purpose.

    ClearwellError            base: one clear sentence for a person, and an exit code
    ├── ConfigError           the user can mend it: a contract, a setting, a key file, an address (exit 2)
    │   └── ContractError     a contract is wrong; names file, line and the nearest right spelling
    ├── Retryable             the world is bad right now; the same call may work later (exit 75)
    └── Fatal                 going on would break an invariant: the process must end (exit 70)
        └── Fenced            a newer owner has taken this partition over (invariant 4)

Bad *data* is never an exception: it is a value, `clearwell.pipeline.Rejected`.
Messages carry no personal data and no secrets (invariants 9 and 10).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hint:
    """What helps: an act of the control plane ("connectors.pause") on something. Each face has its own words for it."""

    act: str
    subject: str = ""


class ClearwellError(Exception):
    """Base of all; `str(error)` is one sentence that says what happened and what to do.

    `code` is for programs, which react to it; `hint` is worded by the face that shows the error.
    """

    exit_code = 1
    code = "error"

    def __init__(self, message: str = "", *, code: str | None = None, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.code = type(self).code if code is None else code
        self.hint = hint


class ConfigError(ClearwellError):
    """Something the user wrote or set is wrong."""

    exit_code = 2
    code = "wrong_configuration"


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a file something was written; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ContractError(ConfigError):
    """A contract breaks the language's rules at `location`."""

    code = "wrong_contract"

    def __init__(self, message: str, location: Location | None = None) -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.location = location


class Retryable(ClearwellError):
    """A server or network is not there or not well now; retry with backoff and jitter."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
    code = "try_again"


class Fatal(ClearwellError):
    """Going on would lose, repeat or reveal something; end the process loudly (invariant 6)."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h
    code = "fatal"


class Fenced(Fatal):
    """A newer owner has claimed this partition; this one must stop writing (invariant 4)."""

    code = "fenced"


def nearest(wrong: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the closest known spelling, or '' when nothing is close."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{close[0]}"?' if close else ""
