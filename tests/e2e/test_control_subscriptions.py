"""The control plane of subscriptions without a face: plans are values, applied once, by one actor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Barrier

import pytest
from kafka import KafkaConsumer

from clearwell.control.platform import Actor, Platform
from clearwell.control.subscriptions import (
    list_subscriptions,
    plan_removal,
    plan_subscription,
    remove,
    show_subscription,
    subscribe,
)
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin
from clearwell.kafka.clients import connect
from clearwell.kafka.names import clean_topic, model_group
from clearwell.registry import Registry, audit, subscriptions
from clearwell.settings import Settings

ANNA = Actor("anna", "api", "a better model")
BERT = Actor("bert", "test")


@pytest.fixture
def platform(stack: Settings, registry: Registry) -> Iterator[Platform]:
    admin.ensure_topics(stack.kafka, "flights", 1)
    with Platform(stack) as opened:
        yield opened


@pytest.fixture
def name(platform: Platform, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("model")
    yield name
    with suppress(ConfigError):
        remove(platform, BERT, plan_removal(platform, name))


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def test_a_subscription_is_planned_made_replaced_and_removed(platform: Platform, name: str) -> None:
    plan = plan_subscription(platform, name, "flights", fields=["origin"])
    assert plan.outcome == "made" and name not in [listed.name for listed in list_subscriptions(platform)]
    subscribe(platform, ANNA, plan)
    assert show_subscription(platform, name).fields == ("origin",)
    another = refusal(lambda: plan_subscription(platform, name, "flights", fields=["dest"]))
    assert (another.code, another.hint) == ("subscription_is_another", Hint("subscriptions.replace", name))
    plan = plan_subscription(platform, name, "flights", fields=["dest"], start="latest", replace=True)
    assert plan.outcome == "replaced"
    begins = subscribe(platform, ANNA, plan)
    details = show_subscription(platform, name)
    assert {at.partition: at.next_offset for at in details.positions} == begins
    assert not details.running and all(at.lag == 0 for at in details.positions)
    removal = plan_removal(platform, name)
    remove(platform, ANNA, removal)
    with platform.looking() as session:
        told = [
            (row.who, row.face, row.reason, row.action) for row in audit.entries(session, subscriptions.target(name))
        ]
    assert told == [("anna", "api", "a better model", act) for act in ("unsubscribe", "change", "subscribe")]
    for act in (lambda: remove(platform, BERT, removal), lambda: show_subscription(platform, name)):
        assert refusal(act).code == "no_such_subscription"


def test_a_followed_subscription_is_not_removed(platform: Platform, name: str) -> None:
    subscribe(platform, BERT, plan_subscription(platform, name, "flights", fields=["dest"]))
    removal = plan_removal(platform, name)
    kafka = platform.settings.kafka
    model = connect(KafkaConsumer, kafka, group_id=model_group(name), metrics_enabled=False)
    try:
        model.subscribe([clean_topic("flights", 1)])
        while not model.assignment():
            model.poll(100)
        for act in (lambda: plan_removal(platform, name), lambda: remove(platform, ANNA, removal)):
            assert refusal(act).code == "subscription_in_use"
    finally:
        model.close()
    assert name in [listed.name for listed in list_subscriptions(platform)]


def test_of_two_who_subscribe_at_once_one_wins_and_the_other_is_told(platform: Platform, name: str) -> None:
    plans = [
        (actor, plan_subscription(platform, name, "flights", fields=[field]))
        for actor, field in ((ANNA, "origin"), (BERT, "dest"))
    ]
    together = Barrier(len(plans))

    def act(actor: Actor, apply: Callable[[], object]) -> str:
        together.wait()
        try:
            apply()
        except ConfigError as error:
            return error.code
        return actor.name

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda both: act(both[0], partial(subscribe, platform, *both)), plans))
    assert results.count("plan_is_old") == 1
    old = refusal(lambda: subscribe(platform, ANNA, plans[0][1]))
    assert (old.code, old.hint) == ("plan_is_old", Hint("subscriptions.show", name))
