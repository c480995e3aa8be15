"""Collects what is wrong in a contract, so that one run shows every error and not only the first."""

from __future__ import annotations

from collections.abc import Sequence

from clearwell.errors import ContractError, Location
from clearwell.terminal import printable

SHOWN = 50
"""More problems than this are counted, not listed: the file is then likely not a contract at all."""


class ContractProblems(ContractError):
    """Everything that is wrong in one contract, in the order of the file; the message has one problem a line."""

    def __init__(self, problems: Sequence[tuple[Location, str]]) -> None:
        self.problems = tuple(problems)
        (location, first), rest = problems[0], problems[1:SHOWN]
        lines = [first, *(f"{location}: {message}" for location, message in rest)]
        if len(problems) > SHOWN:
            lines.append(f"... and {len(problems) - SHOWN} more.")
        super().__init__("\n".join(lines), location)


class Problems:
    """A list of (where, what) that ends in one ContractProblems."""

    def __init__(self) -> None:
        self._found: list[tuple[Location, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, message: str, location: Location) -> None:
        """Note one problem; `message` is a sentence that says what is wrong and what to write instead.

        It may quote the file, so what would break the line, or play with the terminal, is escaped.
        """
        self._found.append((location, printable(message)))

    def add_error(self, error: ContractError, location: Location) -> None:
        """Note the problem or problems that `error` carries; `location` is used when it does not say."""
        if isinstance(error, ContractProblems):
            self._found.extend(error.problems)
        else:
            location = error.location or location
            self.add(str(error).removeprefix(f"{location}: "), location)

    def found(self) -> list[tuple[Location, str]]:
        """What was noted, in the order of the file."""
        return sorted(self._found, key=lambda problem: (problem[0].file, problem[0].line, problem[0].column))

    def raise_any(self) -> None:
        """Raise ContractProblems when anything was noted."""
        if self._found:
            raise ContractProblems(self.found())
