"""Looks into dead letters, and mends their events: open, change, preview, seal again."""

from __future__ import annotations

from dataclasses import dataclass

from clearwell.contract.model import UnknownFields
from clearwell.dead_letters.event import Envelopes
from clearwell.dead_letters.patch import Change
from clearwell.dead_letters.preview import REJECTED, Judge, Judges, Outcome
from clearwell.errors import ConfigError, nearest
from clearwell.privacy.keyring import Keyring
from clearwell.registry import Registry, dead_decisions
from clearwell.registry.dead_letters import Letter
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter's event as it would be sent now, and what would become of it."""

    event: bytes
    judge: Judge
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Mended:
    """What a change makes of a letter's event. `changed` names declared fields; `others` counts undeclared ones."""

    letter: Letter
    judge: Judge
    outcome: Outcome
    changed: tuple[str, ...]
    others: int

    @property
    def fine(self) -> bool:
        """Whether it would not be rejected again."""
        return self.outcome.verdict != REJECTED


class Mender:
    """Opens and mends letters."""

    def __init__(self, settings: Settings, registry: Registry, keyring: Keyring) -> None:
        self._registry = registry
        self._envelopes = Envelopes(keyring)
        self._judges = Judges(settings, keyring)

    def open(self, letter: Letter) -> Opened:
        """A letter's event, judged. Raises ConfigError when it is gone, SealError when it does not open."""
        judge = self._judges.of(letter)
        event = self._event(letter)
        return Opened(event, judge, judge.outcome(letter, event, event))

    def mend(self, letter: Letter, change: Change, version: int | None, *, dry_run: bool = False) -> Mended:
        """Change a letter's event and keep it, where contract `version` (default: the newest) does not reject it.

        Raises ConfigError when the change can't be made, or the letter is not open (any more).
        """
        judge = self._judges.of(letter, version)
        before = self._event(letter)
        after = change.apply(before)
        names = change.names(before)
        changed = [one.name for one in judge.fields if one.name in names]
        mended = Mended(letter, judge, judge.outcome(letter, before, after), tuple(changed), len(names) - len(changed))
        if mended.fine and not dry_run:
            fixed = self._envelopes.seal(letter, after) if after != before else None
            with self._registry.session() as session:
                dead_decisions.fix(session, letter.id, fixed, judge.version, changed)
        return mended

    def require_declared(self, letter: Letter, version: int | None, change: Change) -> None:
        """Raises ConfigError, with the nearest spelling, where a name to be set is no field of the contract."""
        judge = self._judges.of(letter, version)
        known = [one.name for one in judge.fields]
        for name in change.sets:
            if name not in known and judge.unknown_fields is not UnknownFields.KEEP:
                raise ConfigError(f'{letter.stream} v{judge.version} has no field "{name}".{nearest(name, known)}')

    def _event(self, letter: Letter) -> bytes:
        with self._registry.session() as session:
            sealed, fixed = dead_decisions.sealed(session, letter.id)
        return self._envelopes.open(letter, fixed or sealed)
