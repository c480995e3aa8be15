"""The control plane of destinations without a face: plans are values, applied once, by one actor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from clearwell.control import destination_replay
from clearwell.control.deliveries import find_delivery
from clearwell.control.destination_changes import apply, plan_pause, plan_removal, plan_resume
from clearwell.control.destination_registration import check_destination, plan_registration, register
from clearwell.control.destination_replay import DestinationReplay, apply_replay, plan_replay
from clearwell.control.destination_spec import DestinationSpec, make_spec
from clearwell.control.destinations import list_destinations, show_destination
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.destinations.protocol import Accounts, CleanBatch, Start
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic
from clearwell.registry import Registry, audit, deliveries
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.testing.contracts import minimal_text as text
from tests.support.at_once import refused_at_once
from tests.support.publishing import forget_contract, publish_contract

Specification = Callable[[str], DestinationSpec]
ANNA = Actor("anna", "api", "the table was emptied")
BERT = Actor("bert", "test")


@pytest.fixture
def stream(unique: Callable[[str], str]) -> str:
    return unique("visits")


@pytest.fixture
def platform(stack: Settings, registry: Registry, stream: str, tmp_path: Path) -> Iterator[Platform]:
    """One contract, with routes to the platform's Postgres and MongoDB."""
    folder = tmp_path / "schemas" / stream
    folder.mkdir(parents=True)
    (folder / "v1.yaml").write_text(text("routes:\n  - {to: postgres}\n  - {to: mongo}\n", stream=stream))
    publish_contract(stack.postgres, folder / "v1.yaml")
    with Platform(replace(stack, schemas=tmp_path / "schemas")) as opened:
        yield opened
    forget_contract(stack.postgres, stream)


@pytest.fixture
def files(
    platform: Platform, tmp_path: Path, unique: Callable[[str], str]
) -> Iterator[Callable[[str], DestinationSpec]]:
    """A specification of one destination whose files are in the folder that the test names."""
    destination = f"files.{unique('far')}"
    yield lambda folder: make_spec(destination, {"url": f"{tmp_path}/{folder}"}, "the test", tmp_path)
    if any(row.destination == destination for row in list_destinations(platform).destinations):
        apply(platform, BERT, plan_removal(platform, destination))


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def test_a_registration_is_planned_then_stored_and_told_of_its_actor(platform: Platform, files: Specification) -> None:
    plan = plan_registration(platform, files("a"))
    name = plan.spec.destination
    assert plan.outcome == "registered"
    assert name not in [row.destination for row in list_destinations(platform).destinations], "a plan changes nothing"
    register(platform, ANNA, plan)
    assert plan_registration(platform, files("a")).outcome == "unchanged"
    changed = plan_registration(platform, files("b"))
    assert (changed.outcome, len(changed.differences)) == ("changed", 1)
    register(platform, ANNA, changed)
    assert check_destination(platform, name) == []
    with platform.looking() as session:
        newest, oldest = audit.entries(session, f"destination/{name}")
    assert (newest.who, newest.face, newest.reason, newest.action) == (ANNA.name, "api", ANNA.reason, "change")
    assert oldest.action == "register"


def test_of_two_who_register_or_change_at_once_one_wins(platform: Platform, files: Specification) -> None:
    for _ in range(2):  # first a new one, then the same one changed
        plans = [plan_registration(platform, files(folder)) for folder in ("a", "b", "c")]
        plans = [plan for plan in plans if plan.outcome != "unchanged"]
        codes = refused_at_once(*(partial(register, platform, BERT, plan) for plan in plans))
        assert codes == ["plan_is_old"] * (len(plans) - 1)


def test_a_pause_is_planned_then_applied_once(platform: Platform, stream: str) -> None:
    pause = plan_pause(platform, "postgres", stream)
    apply(platform, ANNA, pause)
    states = {row.destination: row.state for row in list_destinations(platform).deliveries if row.stream == stream}
    assert states == {"postgres": "paused", "mongo": "waiting"}
    assert refusal(partial(apply, platform, BERT, pause)).code == "plan_is_old"
    apply(platform, BERT, plan_pause(platform, "postgres", stream))  # it is so already
    with platform.looking() as session:
        (entry,) = audit.entries(session, f"delivery/{stream}.v1.postgres")
    assert (entry.who, entry.action) == (ANNA.name, "pause")
    for plan in (plan_resume(platform, "postgres"), plan_pause(platform, "mongo")):  # with and without a row before
        assert refused_at_once(*[partial(apply, platform, BERT, plan)] * 2) == ["plan_is_old"]


def test_a_removal_is_refused_in_use_and_when_the_world_has_moved(
    platform: Platform, stream: str, files: Specification
) -> None:
    register(platform, BERT, plan_registration(platform, files("a")))
    name = files("a").destination
    removal = plan_removal(platform, name)
    register(platform, BERT, plan_registration(platform, files("b")))
    assert refusal(partial(apply, platform, ANNA, removal)).code == "plan_is_old"
    removal = plan_removal(platform, name)
    contract = platform.settings.schemas / stream / "v1.yaml"
    before = contract.read_text()
    contract.write_text(f"{before}  - {{to: {name}}}\n")
    publish_contract(platform.settings.postgres, contract)
    for act in (partial(plan_removal, platform, name), partial(apply, platform, ANNA, removal)):
        refused = refusal(act)
        assert refused.code == "destination_in_use" and f"published {stream} v1 first" in str(refused)
    contract.write_text(before)
    publish_contract(platform.settings.postgres, contract)
    assert refused_at_once(*[partial(apply, platform, BERT, removal)] * 2) == ["no_such_destination"]
    gone = refusal(partial(plan_removal, platform, name))
    assert (gone.code, gone.hint) == ("no_such_destination", Hint("destinations.register"))


@pytest.fixture
def replay(platform: Platform, stream: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], DestinationReplay]:
    """Plans a replay of a destination in memory, paused after ten events, from the beginning."""
    admin.ensure_topics(platform.settings.kafka, stream, 1, partitions=1)
    topic_id = admin.topic_id(platform.settings.kafka, clean_topic(stream, 1))
    contract, delivery = find_delivery(platform, "postgres", stream)
    schema, store = bind(contract).schema, MemoryStore()
    destination = MemoryDestination(store, schema, delivery.group)
    epoch = destination.claim(topic_id, 0, 1).epoch
    destination.write(CleanBatch(topic_id, 0, 10, epoch, (), (), (), (), (), {"raw": 9}, unrouted=range(10)))
    monkeypatch.setattr(destination_replay, "open_destination", lambda *_: destination)
    apply(platform, BERT, plan_pause(platform, "postgres", stream))
    return lambda: DestinationReplay(delivery, {0: 10}, {0: 0}, 10, False, [Start(Accounts(0, 0))])


def test_of_two_who_replay_at_once_one_wins(
    platform: Platform, stream: str, replay: Callable[[], DestinationReplay]
) -> None:
    plan = replay()
    assert refused_at_once(*[partial(apply_replay, platform, ANNA, plan)] * 2) == ["plan_is_old"]
    old = refusal(partial(apply_replay, platform, ANNA, plan))
    assert str(old).endswith("has changed since this was planned: partition 0 was at 10, and is at 0.")
    with platform.looking() as session:
        newest = audit.entries(session, f"delivery/{stream}.v1.postgres")[0]
    assert (newest.who, newest.action, newest.detail) == (ANNA.name, "replay", {"events": 10, "to": {"0": 0}})
    assert plan_replay(platform, "postgres", stream, None).starts == []


def test_a_replay_is_refused_where_it_would_harm(
    platform: Platform, stream: str, replay: Callable[[], DestinationReplay]
) -> None:
    given_away = replace(replay(), redelivers=True)
    refused = refusal(partial(apply_replay, platform, ANNA, given_away))
    assert (refused.code, str(refused)[:40]) == ("would_redeliver", "10 events would be sent to postgres a se")
    apply(platform, BERT, plan_resume(platform, "postgres"))
    for act in (
        partial(apply_replay, platform, ANNA, given_away, redeliver=True),
        partial(plan_replay, platform, "postgres", stream, None),
    ):
        refused = refusal(act)
        assert (refused.code, refused.hint) == ("delivery_not_paused", Hint("destinations.pause", "postgres"))
    unknown = refusal(partial(plan_replay, platform, "postgres", stream, {99: 0}, while_running=True))
    assert "has no partition 99: there are 0 to 0" in str(unknown)


def test_a_destination_that_can_not_be_asked_says_why(platform: Platform, stream: str) -> None:
    details = show_destination(platform, "mongo", stream)
    assert (details.destination, details.registered) == ("mongo", None)
    (delivery,) = details.deliveries
    assert (delivery.stream, delivery.state, delivery.delivered) == (stream, "waiting", None)
    assert delivery.error is not None and clean_topic(stream, 1) in delivery.error


def test_deliveries_of_a_newer_version_have_positions_of_their_own(platform: Platform, stream: str) -> None:
    """The newest version of a contract is the one that is delivered."""
    folder = platform.settings.schemas / stream
    (folder / "v2.yaml").write_text((folder / "v1.yaml").read_text().replace("version: 1", "version: 2"))
    publish_contract(platform.settings.postgres, folder / "v2.yaml")
    apply(platform, BERT, plan_pause(platform, "mongo", stream))
    with platform.looking() as session:
        registered = [row for row in deliveries.list_deliveries(session) if row.delivery.stream == stream]
    assert [row.delivery.version for row in registered if row.paused] == [2]
