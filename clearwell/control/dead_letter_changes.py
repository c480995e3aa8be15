"""What may be done with dead letters: planned first, so that a dry run says what would follow, then applied.

A plan names its dead letters and how it saw them. Applying it is one transaction with its guards and its audit, and is
refused where one has changed since. A replay is many, since what it sends can't be taken back: those that somebody else
has dealt with meanwhile are passed over, and counted (`ReplayResult.passed`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from clearwell.contract.model import UnknownFields
from clearwell.control.dead_letters import require_known
from clearwell.control.platform import Actor, Platform
from clearwell.dead_letters.event import open_event, seal_event
from clearwell.dead_letters.patch import EventChange
from clearwell.dead_letters.preview import REJECTED, Preview, Verifier, Verifiers, visible
from clearwell.dead_letters.replay import Replayer, ReplayResult
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry import dead_letter_decisions, dead_letters
from clearwell.registry.dead_letters import OPEN, DeadLetterFilter, DeadLetterState, RegisteredDeadLetter

Action = Literal["discard", "park", "reopen", "replay"]

PARTICIPLES = {"discard": "discarded", "park": "parked", "reopen": "reopened", "replay": "replayed"}
"""By action, for sentences."""

_FROM = {
    "discard": (*OPEN, DeadLetterState.PARKED),
    "park": OPEN,
    "reopen": (DeadLetterState.PARKED,),
    "replay": OPEN,
}
_DECIDE = {
    "discard": dead_letter_decisions.discard,
    "park": dead_letter_decisions.park,
    "reopen": dead_letter_decisions.reopen,
}


@dataclass(frozen=True, slots=True)
class DeadLetterPlan:
    """Dead letters, as they were seen, and what is to be done with them."""

    action: Action
    letters: Sequence[RegisteredDeadLetter]


class DeadLetterDecision(DeadLetterPlan):
    """One that sends nothing: for `apply`."""


class DeadLetterReplayPlan(DeadLetterPlan):
    """For `replay`."""


@dataclass(frozen=True, slots=True)
class DeadLetterFix:
    """What a change makes of an event by contract `version`; `changed` names fields, `undeclared` counts other ones.

    `clean`: the clean event as a person may see it, None where it is not kept. `remembers`: the outcome may depend on
    other events, of which `preview` knows none. `envelope`: the changed event, sealed; None where nothing was changed.
    """

    letter: RegisteredDeadLetter
    version: int
    preview: Preview
    changed: Sequence[str]
    undeclared: int
    clean: Mapping[str, Any] | None
    remembers: bool
    envelope: str | None

    @property
    def is_accepted(self) -> bool:
        """Whether it would not be rejected again."""
        return self.preview.outcome != REJECTED


def plan_discard(platform: Platform, selection: DeadLetterFilter) -> DeadLetterDecision:
    """Delete the events, keep the lines. Raises ConfigError as `plan_replay`."""
    return DeadLetterDecision("discard", _select(platform, "discard", selection))


def plan_park(platform: Platform, selection: DeadLetterFilter) -> DeadLetterDecision:
    """Leave them alone: no replay takes them along. Raises ConfigError as `plan_replay`."""
    return DeadLetterDecision("park", _select(platform, "park", selection))


def plan_reopen(platform: Platform, selection: DeadLetterFilter) -> DeadLetterDecision:
    """Let parked ones wait again, their attempts forgotten. Raises ConfigError as `plan_replay`."""
    return DeadLetterDecision("reopen", _select(platform, "reopen", selection))


def plan_replay(platform: Platform, selection: DeadLetterFilter) -> DeadLetterReplayPlan:
    """Send the events again, each on the path it failed on.

    `selection` names ids alone, or what the dead letters have in common: of these, those that are in a state for it.
    Raises ConfigError when it names neither or both, an id is not there or not in such a state, or nothing has a name.
    """
    return DeadLetterReplayPlan("replay", _select(platform, "replay", selection))


def plan_fix(platform: Platform, id_: int, change: EventChange, version: int | None = None) -> DeadLetterFix:
    """Change the event of a dead letter, and preview its outcome by contract `version` (default: the newest).

    Raises ConfigError when there is none, its event is gone, or the change can't be made.
    """
    with platform.looking() as session:
        letter = dead_letters.get(session, id_)
        envelope = dead_letter_decisions.envelope(session, id_)
    verifier = Verifiers(platform.looking, platform.keyring).of(letter, version)
    _require_declared(letter, verifier, change)
    before = open_event(platform.keyring, letter, envelope)
    after = change.apply(before)
    names = change.names(before)
    changed = [field.name for field in verifier.fields if field.name in names]
    preview = verifier.verify(letter, before, after)
    return DeadLetterFix(
        letter=letter,
        version=verifier.version,
        preview=replace(preview, clean=None),
        changed=changed,
        undeclared=len(names) - len(changed),
        clean=None if preview.clean is None else visible(verifier.schema, preview.clean),
        remembers=verifier.remembers,
        envelope=seal_event(platform.keyring, letter, after) if after != before else None,
    )


def apply(platform: Platform, actor: Actor, plan: DeadLetterDecision | DeadLetterFix) -> int:
    """Carry out a plan that sends nothing; returns how many dead letters were changed. Blocks.

    Raises ConfigError, having changed none, where one has changed since the plan (code "plan_is_old"), one is being
    replayed, or a fixed event would be rejected again.
    """
    with platform.changing(actor) as session:
        if isinstance(plan, DeadLetterDecision):
            return _DECIDE[plan.action](session, plan.letters)
        _require_open(plan)
        dead_letter_decisions.fix(session, plan.letter, plan.envelope, plan.version, plan.changed)
        return 1


def replay(
    platform: Platform, actor: Actor, plan: DeadLetterReplayPlan, say: Callable[[str], None]
) -> tuple[ReplayResult, int]:
    """Send what `plan_replay` has planned, when what was broken off before is settled. Blocks.

    Returns what became of it, and how many events turned out to have been sent before. `say` is told, in a sentence,
    what takes long. Raises Retryable when a server is not well: what was sent by then stays sent, and is known.
    """
    if not plan.letters:
        return ReplayResult(), 0
    replayer = Replayer(platform.settings, partial(platform.changing, actor), platform.keyring, say)
    settled = replayer.settle(sorted({letter.stream for letter in plan.letters}))
    return replayer.replay(plan.letters), settled


def _select(platform: Platform, action: Action, selection: DeadLetterFilter) -> Sequence[RegisteredDeadLetter]:
    states = _FROM[action]
    if bool(selection.ids) == bool(replace(selection, ids=()) != DeadLetterFilter()):
        raise ConfigError(
            "Say which dead letters: by their ids, or by what they have in common.",
            code="nothing_selected",
            hint=Hint("dead_letters.select"),
        )
    with platform.looking() as session:
        if selection.ids:
            letters = dead_letters.find(session, selection)
            for letter in letters:
                _require_state(letter, states, action)
            return letters
        if selection.states and not set(selection.states) & set(states):
            raise ConfigError(
                f"Only dead letters that are {' or '.join(states)} can be {PARTICIPLES[action]}.",
                code="dead_letter_state",
            )
        selection = replace(selection, states=[state for state in selection.states or states if state in states])
        require_known(session, selection)
        return dead_letters.find(session, selection)


def _require_state(letter: RegisteredDeadLetter, states: Sequence[DeadLetterState], action: str) -> None:
    if letter.state not in states:
        waits = letter.state is DeadLetterState.PARKED and letter.has_event
        raise ConfigError(
            f"Dead letter {letter.id} is {letter.state}, so it can't be {PARTICIPLES.get(action, action)}.",
            code="dead_letter_state",
            hint=Hint("dead_letters.reopen", str(letter.id)) if waits else None,
        )


def _require_open(plan: DeadLetterFix) -> None:
    if not plan.is_accepted:
        raise ConfigError(
            f"Dead letter {plan.letter.id} would be rejected again: {plan.preview.reason}.",
            code="still_rejected",
        )
    _require_state(plan.letter, OPEN, "fixed")


def _require_declared(letter: RegisteredDeadLetter, verifier: Verifier, change: EventChange) -> None:
    """Raises ConfigError, with the nearest spelling, where a name to be set is no field of the contract."""
    known = [field.name for field in verifier.fields]
    for name in change.sets:
        if name not in known and verifier.unknown_fields is not UnknownFields.KEEP:
            raise ConfigError(f'{letter.stream} v{verifier.version} has no field "{name}".{nearest(name, known)}')
