"""`clearwell subscribe` registers a model, and `clearwell.subscription` follows for it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

import clearwell
from clearwell.cli.main import main
from clearwell.errors import ConfigError
from clearwell.kafka.names import clean_topic
from clearwell.local.prepare import prepare
from clearwell.pipeline.batch import RawBatch
from clearwell.pipeline.compiler import compile
from clearwell.postgres_connection import BoundedConnection
from clearwell.privacy.envelope import MARK
from clearwell.records import clean
from clearwell.registry import Registry, subscription_positions
from tests.support.platform import Platform, numbered, until

Command = Callable[..., tuple[int, Any]]
FIELDS = "origin,dest,dep_delay"


@pytest.fixture
def subscribe(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `clearwell subscribe … --json`; returns the exit code and the object."""
    for name, value in platform.env().items():
        monkeypatch.setenv(name, value)
    prepare(platform.settings)

    def run(*arguments: str) -> tuple[int, Any]:
        code = main(["subscribe", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def put_clean(platform: Platform, count: int) -> None:
    """The clean topic as a cleaner fills it."""
    pipeline = compile(platform.contract, platform.keyring)
    raw = RawBatch("R" * 22, 0, range(count), list(numbered(count)))
    outcomes = pipeline.process(raw, pipeline.new_state())
    headers = clean.Headers("R" * 22, 0, f"{platform.stream}/v1")
    kept = zip(outcomes.offsets, outcomes.values, strict=True)
    platform.append(clean_topic(platform.stream, 1), ((value, headers.at(offset), 0) for offset, value in kept))


def test_a_registered_model_gets_its_fields(platform: Platform, subscribe: Command) -> None:
    name = f"delay-{platform.stream}"
    code, done = subscribe(name, "--stream", platform.stream, "--fields", FIELDS)
    assert (code, done["outcome"], done["topic"]) == (0, "made", clean_topic(platform.stream, 1))
    put_clean(platform, 20)
    with clearwell.subscription(name, idle=1.0) as batches:
        rows = [row for batch in batches for row in batch.dicts()]
    assert len(rows) == 20
    assert rows[3] == {"origin": "EWR", "dest": "IAH", "dep_delay": 3}


def test_who_registered_followed_and_left_holds_no_connection(platform: Platform, subscribe: Command) -> None:
    before = open_connections()
    name = f"delay-{platform.stream}"
    code, _ = subscribe(name, "--stream", platform.stream, "--fields", FIELDS, "--from", "latest")
    assert (code, open_connections() - before) == (0, set())
    put_clean(platform, 20)
    batches = clearwell.subscription(name, idle=1.0, max_rows=10)
    first, second = next(batches), next(batches)
    first.commit()
    batches.close()
    second.commit()  # late, and remembered all the same
    until(lambda: open_connections() <= before)
    with closing(Registry(platform.settings.postgres)) as registry, registry.session() as session:
        known = subscription_positions.load(session, name, platform.ids[clean_topic(platform.stream, 1)])
    assert sum(offset for offset, _ in known.values()) == 20


def open_connections() -> set[int]:
    """Of this process to PostgreSQL."""
    known = [one for one in gc.get_objects() if issubclass(type(one), BoundedConnection)]  # of a dead proxy, too
    return {id(one) for one in known if not one.closed}


def test_a_protected_field_needs_a_purpose_and_stays_protected(platform: Platform, subscribe: Command) -> None:
    name, asked = f"fleet-{platform.stream}", ("--stream", platform.stream, "--fields", "id,tailnum,aircraft")
    code, said = subscribe(name, *asked)
    assert (code, "tailnum, aircraft is protected" in said["error"]) == (2, True)
    code, done = subscribe(name, *asked, "--purpose", "predict maintenance")
    assert (code, done["protected"]) == (0, ["tailnum", "aircraft"])
    put_clean(platform, 3)
    with clearwell.subscription(name, idle=1.0) as batches:
        rows = [row for batch in batches for row in batch.dicts()]
    assert all(row["tailnum"].startswith(MARK) and not row["aircraft"].startswith("N") for row in rows)


def test_the_same_again_is_nothing_and_another_needs_replace(platform: Platform, subscribe: Command) -> None:
    name, stream = f"delay-{platform.stream}", ("--stream", platform.stream)
    assert subscribe(name, *stream, "--fields", FIELDS, "--dry-run")[1]["outcome"] == "made"
    assert subscribe(name, *stream, "--fields", FIELDS)[1]["outcome"] == "made"
    assert subscribe(name, *stream, "--fields", FIELDS)[1]["outcome"] == "unchanged"
    code, said = subscribe(name, *stream, "--fields", "origin")
    assert code == 2
    assert "fields origin, dest, dep_delay would become origin" in said["error"]
    assert subscribe(name, *stream, "--fields", "origin", "--replace")[1]["outcome"] == "replaced"
    listed = {one["name"]: one["fields"] for one in subscribe("--list")[1]["subscriptions"]}
    assert listed[name] == ["origin"]


def test_from_latest_begins_now(platform: Platform, subscribe: Command) -> None:
    put_clean(platform, 10)
    name = f"late-{platform.stream}"
    begins = subscribe(name, "--stream", platform.stream, "--fields", FIELDS, "--from", "latest")[1]["begins"]
    assert begins == {"0": 10, "1": 0, "2": 0, "3": 0}
    with clearwell.subscription(name, idle=0.5) as batches:
        assert list(batches) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("m", "--stream", "$stream", "--fields", "dep_dela"), 'no clean field "dep_dela". Did you mean "dep_delay"?'),
        (("m", "--stream", "$stream_x"), 'There is no contract for a stream "'),
        (("Not A Name", "--stream", "$stream"), "is no name for a subscription"),
        (("m",), "Say which: clearwell subscribe NAME --stream STREAM."),
    ],
)
def test_mistakes_are_one_sentence(
    platform: Platform, subscribe: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, answer = subscribe(*(one.replace("$stream", platform.stream) for one in arguments))
    assert code == 2
    assert said in answer["error"]


def test_an_unknown_subscription_names_the_nearest(platform: Platform, subscribe: Command) -> None:
    subscribe(f"delay-{platform.stream}", "--stream", platform.stream, "--fields", FIELDS)
    with pytest.raises(ConfigError, match=f'There is no subscription "dely-{platform.stream}". Did you mean "delay-'):
        clearwell.subscription(f"dely-{platform.stream}")
