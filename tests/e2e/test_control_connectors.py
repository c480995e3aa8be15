"""The control plane of connectors without a face: plans are values, applied once, by one actor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from clearwell.control.connector_changes import (
    apply,
    plan_pause,
    plan_position,
    plan_removal,
    plan_restart,
    plan_resume,
)
from clearwell.control.connector_registration import plan_registration, register, reveal_samples
from clearwell.control.connector_spec import load_spec
from clearwell.control.connectors import list_changes, show_connector, show_position
from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, Hint
from clearwell.registry import Registry
from clearwell.settings import Settings
from tests.support.at_once import refused_at_once

ANNA = Actor("anna", "api", "the source was read twice")
BERT = Actor("bert", "test")


@pytest.fixture
def platform(stack: Settings, registry: Registry) -> Iterator[Platform]:
    with Platform(stack) as opened:
        yield opened


@pytest.fixture
def name(platform: Platform, spec: Path) -> str:
    """A connector that Bert has registered."""
    plan = plan_registration(platform, load_spec(spec))
    register(platform, BERT, plan)
    return plan.spec.name


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def test_a_plan_changes_nothing_and_applied_tells_who_did_it_and_why(platform: Platform, name: str) -> None:
    plan = plan_pause(platform, name)
    assert (plan.before, plan.state, show_connector(platform, name).state) == ("running", "paused", "running")
    apply(platform, ANNA, plan)
    assert show_connector(platform, name).state == "paused"
    newest = list_changes(platform, name)[0]
    assert (newest.who, newest.face, newest.reason, newest.action) == (ANNA.name, ANNA.face, ANNA.reason, "pause")


def test_a_plan_is_refused_when_the_world_has_moved(platform: Platform, name: str) -> None:
    pause, restart = plan_pause(platform, name), plan_restart(platform, name)
    apply(platform, BERT, pause)
    for plan in (pause, restart):
        old = refusal(partial(apply, platform, ANNA, plan))
        assert old.code == "plan_is_old"
        assert str(old).startswith(f'Connector "{name}" has changed since this was planned: it was running, and is')
    there = {"file": "events.ndjson", "offset": 0}
    move = plan_position(platform, name, there)
    apply(platform, BERT, move)
    old = refusal(lambda: apply(platform, ANNA, move))
    assert (old.code, str(old)) == ("plan_is_old", f'The position of connector "{name}" is at version 1, not 0.')
    apply(platform, BERT, plan_resume(platform, name))
    refused = refusal(lambda: plan_position(platform, name, None))
    assert (refused.code, refused.hint) == ("connector_not_paused", Hint("connectors.pause", name))


def test_a_registration_is_refused_when_another_came_first(platform: Platform, spec: Path) -> None:
    ours = plan_registration(platform, load_spec(spec))
    (spec.parent / "other.ndjson").write_bytes(b'{"id":"a"}\n')
    spec.write_text(spec.read_text().replace("events", "other"))
    register(platform, BERT, plan_registration(platform, load_spec(spec)))
    old = refusal(lambda: register(platform, ANNA, ours))
    assert old.code == "plan_is_old" and "was registered in the plan, and would be changed now" in str(old)
    assert show_connector(platform, ours.spec.name).config["path"].endswith("other.ndjson")


def test_of_two_who_act_at_once_one_wins_and_the_other_is_told(platform: Platform, name: str) -> None:
    apply(platform, BERT, plan_pause(platform, name))
    anna, bert = (plan_position(platform, name, {"file": "events.ndjson", "offset": offset}) for offset in (17, 0))
    assert refused_at_once(partial(apply, platform, ANNA, anna), partial(apply, platform, BERT, bert)) == [
        "plan_is_old"
    ]
    position = show_position(platform, name)
    winner, plan = (ANNA, anna) if position.position == anna.new else (BERT, bert)
    assert (position.position, position.version) == (plan.new, 1)
    assert list_changes(platform, name)[0].who == winner.name


def test_of_two_who_register_at_once_one_wins(platform: Platform, spec: Path) -> None:
    plan = plan_registration(platform, load_spec(spec))
    assert refused_at_once(*[partial(register, platform, BERT, plan)] * 2) == ["plan_is_old"]


def test_samples_of_a_registered_connector_are_handed_out_with_an_audit(platform: Platform, name: str) -> None:
    (stream,) = reveal_samples(platform, ANNA, name)
    assert len(stream.sample) == 2
    newest = list_changes(platform, name)[0]
    assert (newest.who, newest.action, newest.reason) == (ANNA.name, "reveal", ANNA.reason)


def test_what_is_gone_is_told_with_a_code(platform: Platform, name: str) -> None:
    removal = plan_removal(platform, name)
    apply(platform, BERT, removal)
    for act in (lambda: apply(platform, ANNA, removal), lambda: plan_pause(platform, name)):
        gone = refusal(act)
        assert (gone.code, gone.hint) == ("no_such_connector", Hint("connectors.list"))
