"""The control plane of dead letters without a face or a worker: guards, plans that are old, and what is revealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import delete

from clearwell.control.dead_letter_changes import (
    apply,
    plan_discard,
    plan_fix,
    plan_park,
    plan_reopen,
    plan_replay,
)
from clearwell.control.dead_letters import (
    DeadLetterFilter,
    DeadLetterState,
    list_dead_letters,
    reveal_dead_letter,
    show_dead_letter,
)
from clearwell.control.platform import Actor, Platform
from clearwell.dead_letters.event import seal_event
from clearwell.dead_letters.patch import EventChange
from clearwell.errors import ConfigError, Hint
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.records.dead_letter import DeadLetter
from clearwell.registry import Registry, audit, dead_letter_intake
from clearwell.registry.dead_letter_intake import CopiedDeadLetter
from clearwell.registry.models import DeadLetterRow
from clearwell.settings import Settings
from tests.support.at_once import refused_at_once
from tests.support.platform import numbered

ANNA = Actor("anna", "api", "support case 4711")
BERT = Actor("bert", "test")
GOOD = next(numbered(1))
BAD = GOOD.replace(b'"EWR"', b'"LHR"')


@pytest.fixture
def platform(stack: Settings, registry: Registry) -> Iterator[Platform]:
    """With keys in memory."""
    with Platform(stack) as opened:
        opened.__dict__["keyring"] = MemoryKeyring()
        yield opened


@pytest.fixture
def add(platform: Platform, registry: Registry, unique: Callable[[str], str]) -> Iterator[Callable[..., int]]:
    """Adds a dead letter of the stream flights, as its copier would, and returns its id; all are gone afterwards."""
    topic_id = unique("t")

    def add(event: bytes, raw_offset: int = 0) -> int:
        letter = DeadLetter(
            **dict.fromkeys(("reason", "step", "field"), ""),
            stream="flights",
            version=1,
            raw_partition=0,
            raw_offset=raw_offset,
            origin_topic_id=topic_id,
        )
        copy = CopiedDeadLetter(
            **asdict(letter),
            ours=True,
            size=len(event),
            sealed=seal_event(platform.keyring, letter, event),
            dead_topic_id=topic_id,
            dead_offset=raw_offset,
            state=DeadLetterState.WAITING,
            rejected_at=datetime.now(UTC),
        )
        with registry.connection() as connection:
            dead_letter_intake.add(connection, [copy])
        (newest, *_) = list_dead_letters(platform, DeadLetterFilter(stream="flights"), 1).letters
        return newest.id

    yield add
    with registry.session() as session:
        session.execute(delete(DeadLetterRow).where(DeadLetterRow.origin_topic_id == topic_id))


def of(*ids: int) -> DeadLetterFilter:
    return DeadLetterFilter(ids=ids)


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def trail(registry: Registry, target: str) -> list[tuple[str, str, str, str]]:
    with registry.session() as session:
        return [(entry.action, entry.who, entry.face, entry.reason) for entry in audit.entries(session, target)]


def test_a_plan_changes_nothing_and_is_applied_once(platform: Platform, add: Callable[..., int]) -> None:
    id_ = add(BAD)
    plan = plan_discard(platform, of(id_))
    assert show_dead_letter(platform, id_).letter.state == "waiting"
    assert apply(platform, ANNA, plan) == 1
    assert show_dead_letter(platform, id_).letter.state == "discarded"
    old = refusal(lambda: apply(platform, BERT, plan))
    assert (old.code, old.hint) == ("plan_is_old", Hint("dead_letters.show", str(id_)))
    assert f"Dead letter {id_} has changed since this was planned: it was waiting, and is discarded" in str(old)


def test_one_that_has_changed_holds_back_the_whole_plan(platform: Platform, add: Callable[..., int]) -> None:
    ids = [add(BAD, offset) for offset in range(3)]
    plan = plan_park(platform, of(*ids))
    apply(platform, BERT, plan_discard(platform, of(ids[1])))
    assert refusal(lambda: apply(platform, ANNA, plan)).code == "plan_is_old"
    assert [show_dead_letter(platform, id_).letter.state for id_ in ids] == ["waiting", "discarded", "waiting"]


def test_of_two_who_act_at_once_one_wins_and_the_other_is_told(platform: Platform, add: Callable[..., int]) -> None:
    id_ = add(BAD)
    park, discard = plan_park(platform, of(id_)), plan_discard(platform, of(id_))
    assert refused_at_once(partial(apply, platform, ANNA, park), partial(apply, platform, BERT, discard)) == [
        "plan_is_old"
    ]
    assert show_dead_letter(platform, id_).letter.state in ("parked", "discarded")


def test_a_fix_is_previewed_kept_sealed_and_refused_when_another_came_first(
    platform: Platform, registry: Registry, add: Callable[..., int]
) -> None:
    id_ = add(BAD)
    ours = plan_fix(platform, id_, EventChange(sets={"origin": b'"JFK"'}))
    assert (ours.is_accepted, ours.changed, ours.undeclared) == (True, ["origin"], 0)
    assert ours.clean is not None and ours.clean["tailnum"] == "(encrypt)"
    assert "JFK" not in (ours.envelope or "")
    still = plan_fix(platform, id_, EventChange(sets={"origin": b'"XXX"'}))
    assert refusal(lambda: apply(platform, BERT, still)).code == "still_rejected"
    apply(platform, BERT, plan_fix(platform, id_, EventChange(sets={"origin": b'"LGA"'})))
    assert refusal(lambda: apply(platform, ANNA, ours)).code == "plan_is_old"
    assert b'"LGA"' in reveal_dead_letter(platform, ANNA, id_)
    apply(platform, BERT, plan_discard(platform, of(id_)))
    assert refusal(lambda: plan_fix(platform, id_, EventChange(sets={"origin": b'"LGA"'}))).code == "event_is_gone"


def test_what_is_revealed_is_audited_with_the_reason_and_nothing_else_is_clear(
    platform: Platform, registry: Registry, add: Callable[..., int]
) -> None:
    id_ = add(BAD.replace(b"N00001", b"CANARY7"))
    details = show_dead_letter(platform, id_)
    assert details.preview is not None and details.preview.outcome == "rejected"
    assert "CANARY7" not in repr(details)
    assert trail(registry, f"dead-letter/flights/{id_}") == []
    assert reveal_dead_letter(platform, ANNA, id_) == BAD
    assert trail(registry, f"dead-letter/flights/{id_}") == [("reveal", ANNA.name, ANNA.face, ANNA.reason)]
    apply(platform, BERT, plan_discard(platform, of(id_)))
    assert refusal(lambda: reveal_dead_letter(platform, ANNA, id_)).code == "event_is_gone"
    assert len(trail(registry, f"dead-letter/flights/{id_}")) == 1


def test_what_can_not_be_done_is_told_with_a_code(platform: Platform, add: Callable[..., int]) -> None:
    id_ = add(BAD)
    both = DeadLetterFilter(ids=[id_], stream="flights")
    for plan in (plan_discard, plan_park, plan_reopen, plan_replay):
        for unclear in (DeadLetterFilter(), both):
            assert refusal(partial(plan, platform, unclear)).code == "nothing_selected"
        gone = refusal(partial(plan, platform, of(2**40)))
        assert (gone.code, gone.hint) == ("no_such_dead_letter", Hint("dead_letters.list"))
        assert refusal(partial(plan, platform, DeadLetterFilter(stream="flight"))).code == "no_dead_letter_has"
    assert refusal(lambda: plan_reopen(platform, of(id_))).code == "dead_letter_state"
    only = DeadLetterFilter(states=[DeadLetterState.DISCARDED])
    assert (
        str(refusal(lambda: plan_park(platform, only))) == "Only dead letters that are waiting or fixed can be parked."
    )
    apply(platform, BERT, plan_park(platform, of(id_)))
    parked = refusal(lambda: plan_replay(platform, of(id_)))
    assert (parked.code, parked.hint) == ("dead_letter_state", Hint("dead_letters.reopen", str(id_)))
    assert apply(platform, BERT, plan_reopen(platform, of(id_))) == 1
