"""Collects what is wrong in a contract, so that one run shows every error and not only the first."""

from __future__ import annotations

from collections.abc import Sequence

from clearwell.errors import ContractError, Location
from clearwell.terminal import printable

SHOWN = 50
"""More problems than this are counted, not listed: the file is then likely not a contract at all."""


class ContractProblems(ContractError):
    """Everything that is wrong in one contract, in the order of the file; the message has one problem a line."""

    def __init__(self, found: Sequence[tuple[Location, str]]) -> None:
        self.problems = tuple(found)
        (where, first), rest = found[0], found[1:SHOWN]
        lines = [first, *(f"{place}: {message}" for place, message in rest)]
        if len(found) > SHOWN:
            lines.append(f"... and {len(found) - SHOWN} more.")
        super().__init__("\n".join(lines), where)


class Problems:
    """A list of (where, what) that ends in one ContractProblems."""

    def __init__(self) -> None:
        self._found: list[tuple[Location, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, message: str, where: Location) -> None:
        """Note one problem; `message` is a sentence that says what is wrong and what to write instead.

        It may quote the file, so what would break the line, or play with the terminal, is escaped.
        """
        self._found.append((where, printable(message)))

    def add_error(self, error: ContractError, where: Location) -> None:
        """Note the problem or problems that `error` carries; `where` is used when it does not say."""
        if isinstance(error, ContractProblems):
            self._found.extend(error.problems)
        else:
            place = error.where or where
            self.add(str(error).removeprefix(f"{place}: "), place)

    def found(self) -> list[tuple[Location, str]]:
        """What was noted, in the order of the file."""
        return sorted(self._found, key=lambda one: (one[0].file, one[0].line, one[0].column))

    def raise_any(self) -> None:
        """Raise ContractProblems when anything was noted."""
        if self._found:
            raise ContractProblems(self.found())
