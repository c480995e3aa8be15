"""The collector on real Kafka and Postgres: all of a source, in order, positions after durability, failures told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import subprocess
import threading
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import select

from clearwell.control import connector_spec
from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.producer import EventProducer, InFlightRecords
from clearwell.plugins import kinds, spec
from clearwell.registry import State, connectors, contracts, positions
from clearwell.registry.models import ProcessRow
from clearwell.settings import Settings
from clearwell.source import EVENT_LIMIT, SECRET, Batch, DiscoveredStream, SourceConfig, SourceEvent, SourcePosition
from services.collector.collector import Collector
from tests.support.collecting import Sandbox, header, until
from tests.support.publishing import forget_contract

Unique = Callable[[str], str]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("events"), tmp_path)
    yield made
    made.close()


def lines(count: int, keys: int = 50) -> list[bytes]:
    """Events of `keys` keys, numbered."""
    return [b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n % keys, n) for n in range(count)]


class FakeConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A source with a secret."""

    token: Annotated[str, SECRET] = ""


class FakePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The number of the event that comes next."""

    next: int


class Fake:
    """A source made of a script: each call of `read` plays the next part of `plays`, from `after` on."""

    name: ClassVar[str] = "fake"
    Config: ClassVar[type[SourceConfig]] = FakeConfig
    Position: ClassVar[type[SourcePosition]] = FakePosition
    id_fields = ()
    plays: ClassVar[list[Exception | None]] = []
    events: ClassVar[list[bytes]] = []
    afters: ClassVar[list[FakePosition | None]] = []

    def __init__(self, config: FakeConfig) -> None:
        self.closed = False
        self.token = config.token

    def check(self) -> None:
        """Nothing to check."""

    def discover(self) -> list[DiscoveredStream]:
        """Nothing on offer."""
        return []

    async def read(self, after: FakePosition | None) -> AsyncIterator[Batch]:
        """Ten events a batch; the error of this play comes after three batches."""
        self.afters.append(after)
        error = self.plays.pop(0) if self.plays else None
        start = 0 if after is None else after.next
        for batch, first in enumerate(range(start, len(self.events), 10)):
            if batch == 3 and error is not None:
                raise type(error)(f"{error} {self.token}".strip())
            chunk = self.events[first : first + 10]
            yield (
                [SourceEvent(f"e{first + i}", data) for i, data in enumerate(chunk)],
                FakePosition(next=first + len(chunk)),
            )

    async def close(self) -> None:
        """Nothing is open."""
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """The scripted source, registered under the kind "fake"."""
    known = kinds.source_class
    for module in (spec, connector_spec):
        monkeypatch.setattr(module, "source_class", lambda kind: Fake if kind == "fake" else known(kind))
    monkeypatch.setattr("services.collector.running_connector.FIRST_DELAY", 0.01)
    Fake.plays, Fake.events, Fake.afters = [], lines(100), []
    return Fake


def test_raw_holds_exactly_the_files_events_in_order(sandbox: Sandbox, unique: Unique) -> None:
    given = lines(20_000)
    (sandbox.folder / "in.ndjson").write_bytes(b"\n".join(given))
    name = sandbox.add(unique("c"), path=str(sandbox.folder / "in.ndjson"))
    assert sandbox.collect(name) == 0
    records = sandbox.new_records()
    assert Counter(record.value for record in records) == Counter(given)
    by_key: defaultdict[bytes, list[int]] = defaultdict(list)
    places: defaultdict[bytes, set[int]] = defaultdict(set)
    for record in records:
        by_key[record.key].append(json.loads(record.value)["n"])
        places[record.key].add(record.partition)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert all(len(partitions) == 1 for partitions in places.values())
    assert len(set.union(*places.values())) == 4
    first = next(record for record in records if record.value == given[0])
    assert header(first, "ce_id") == "in.ndjson#0"
    assert header(first, "ce_source") == f"/connectors/{name}"
    assert header(first, "ce_type") == f"clearwell.{sandbox.stream}"
    connector, saved = sandbox.state(name)
    assert (connector.state, connector.last_error) == (State.FINISHED, None)
    assert saved.events == len(given)
    content = b"\n".join(given)
    mark = hashlib.blake2b(content[:256] + content[-256:], digest_size=4).hexdigest()
    assert saved.position == {"file": "in.ndjson", "offset": len(content), "mark": mark}


def test_a_finished_file_that_grew_is_read_on_from_where_it_ended(sandbox: Sandbox, unique: Unique) -> None:
    path = sandbox.folder / "in.ndjson"
    path.write_bytes(b"\n".join(lines(10)) + b"\n")
    name = sandbox.add(unique("c"), path=str(path))
    assert sandbox.collect(name) == 0
    assert len(sandbox.new_records()) == 10
    with path.open("ab") as file:
        file.write(b'{"id":"later"}\n')
    with sandbox.registry.session() as session:
        connectors.set_state(session, name, State.RUNNING, "resume")
    assert sandbox.collect(name) == 0
    assert [record.value for record in sandbox.new_records()] == [b'{"id":"later"}']


def test_poisoned_lines_reach_raw_untouched_among_their_neighbours(sandbox: Sandbox, unique: Unique) -> None:
    poison = [
        b"{",
        b"\xff\xfe",
        b'{"id":"\\ud800"}',
        b'{"id":1e999}',
        b"[" * 50_000,
        b'{"id":"' + b"9" * 5_000 + b'"}',
        b'{"id":"nul\\u0000"}',
        b'{"id":"' + b"x" * (EVENT_LIMIT - 9) + b'"}',
    ]
    too_large = b'{"id":"' + b"x" * EVENT_LIMIT + b'"}'
    good = lines(len(poison) + 1)
    mixed = [one for pair in zip(good, [*poison, too_large], strict=True) for one in pair]
    (sandbox.folder / "in.ndjson").write_bytes(b"\n".join(mixed))
    assert sandbox.collect(sandbox.add(unique("c"), path=str(sandbox.folder / "in.ndjson"))) == 0
    records = sandbox.new_records()
    assert len(records) == len(mixed)
    assert set(good) | set(poison) <= {record.value for record in records}
    refused = [record for record in records if header(record, "clearwell_refused")]
    assert len(refused) == 1 and refused[0].value.startswith(b"refused: the event has 10485")
    assert header(refused[0], "ce_id") == f"in.ndjson#{sum(map(len, mixed[:-1])) + len(mixed) - 1}"


def test_one_bad_connector_fails_with_a_message_and_never_stops_another(sandbox: Sandbox, unique: Unique) -> None:
    (sandbox.folder / "in.ndjson").write_bytes(b"\n".join(lines(100)))
    bad = sandbox.add(unique("bad"), path=str(sandbox.folder / "missing.ndjson"))
    worse = sandbox.add(unique("worse"), source="no_such_source")
    good = sandbox.add(unique("good"), path=str(sandbox.folder / "in.ndjson"))

    collector = Collector(sandbox.registry, sandbox.settings, sandbox.names)
    assert asyncio.run(collector.run(asyncio.Event(), once=True)) == 2
    assert sandbox.state(good)[0].state is State.FINISHED
    connector, saved = sandbox.state(bad)
    assert connector.state is State.FAILING and "missing.ndjson does not exist" in str(connector.last_error)
    assert saved.position is None
    assert "no kind of source" in str(sandbox.state(worse)[0].last_error)
    assert len(sandbox.new_records()) == 100


def test_a_contract_that_nobody_published_is_told_and_not_waited_for(
    sandbox: Sandbox, unique: Unique, caplog: pytest.LogCaptureFixture
) -> None:
    (sandbox.folder / "in.ndjson").write_bytes(b"\n".join(lines(10)))
    name = sandbox.add(unique("c"), path=str(sandbox.folder / "in.ndjson"))
    with sandbox.registry.session() as session:
        contracts.retire(session, sandbox.stream)
    assert sandbox.collect(name) == 2
    assert f"connector {name}: {sandbox.stream} has no published contract, so nothing was read" in caplog.text
    assert sandbox.state(name)[1].events == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [(ConfigError("mend me"), "mend me"), (ValueError("jane@example.com"), "has a bug (ValueError)")],
)
def test_an_error_of_the_source_ends_it_after_what_came_before_is_durable(
    sandbox: Sandbox, unique: Unique, fake: type[Fake], error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.plays = [error]
    name = sandbox.add(unique("c"), source="fake")
    assert sandbox.collect(name) == 2
    connector, saved = sandbox.state(name)
    assert connector.state is State.FAILING and said in str(connector.last_error)
    assert "jane" not in str(connector.last_error) + caplog.text
    assert (saved.position, saved.events) == ({"next": 30}, 30)
    assert len(sandbox.new_records()) == 30


def test_a_secret_stays_out_of_state_and_log(
    sandbox: Sandbox,
    unique: Unique,
    fake: type[Fake],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("CANARY", "canary-71c9")
    fake.plays = [ConfigError("refused, said the server:")]
    name = sandbox.add(unique("c"), source="fake", token="${env:CANARY}")
    assert sandbox.collect(name) == 2
    assert sandbox.state(name)[0].last_error == "refused, said the server: ***"
    assert "canary" not in caplog.text


def test_a_secret_is_registered_as_a_reference_alone(sandbox: Sandbox, fake: type[Fake]) -> None:
    path = sandbox.folder / "spec.yaml"
    text = "name: c\nsource: fake\nstream: s\nconfig: {token: TOKEN}\n"
    path.write_text(text.replace("TOKEN", "canary-71c9"))
    with pytest.raises(ConfigError, match=r"config\.token is a secret: write a reference") as refused:
        connector_spec.load_spec(path)
    assert "canary" not in str(refused.value)
    path.write_text(text.replace("TOKEN", '"${env:CANARY}"'))
    assert connector_spec.load_spec(path).config == {"token": "${env:CANARY}"}


def test_a_passing_failure_is_told_and_reading_goes_on_from_the_position(
    sandbox: Sandbox, unique: Unique, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    note = connectors.note_trouble

    def reporting(session: Any, name: str, error: str, at: Any) -> None:
        told.append(error)
        note(session, name, error, at)

    monkeypatch.setattr(connectors, "note_trouble", reporting)
    fake.plays = [Retryable("try me later"), Retryable("and again")]
    name = sandbox.add(unique("c"), source="fake")
    assert sandbox.collect(name) == 0
    assert told == ["try me later", "and again"]
    assert fake.afters == [None, FakePosition(next=30), FakePosition(next=60)]
    connector, saved = sandbox.state(name)
    assert (connector.state, connector.last_error, connector.next_try_at) == (State.FINISHED, None, None)
    assert saved.events == 100
    assert [record.value for record in sorted(sandbox.new_records(), key=lambda r: json.loads(r.value)["n"])] == lines(
        100
    )


def test_the_position_never_passes_what_kafka_has_not_acknowledged(
    sandbox: Sandbox, unique: Unique, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1. The fourth batch is never acknowledged in the first run, though later ones are."""
    sent = 0
    begin = EventProducer.begin

    class Lost(InFlightRecords):
        def wait(self) -> None:
            saved = sandbox.state(name)[1]
            assert (saved.position, saved.events) == ({"next": 30}, 30)
            raise Retryable("no acknowledgement")

    def losing(self: EventProducer, topic: str, records: Any) -> InFlightRecords:
        nonlocal sent
        sent += 1
        return Lost("", topic, []) if sent == 4 else begin(self, topic, records)

    monkeypatch.setattr(EventProducer, "begin", losing)
    name = sandbox.add(unique("c"), source="fake")
    assert sandbox.collect(name) == 0
    assert fake.afters == [None, FakePosition(next=30)]
    ids = Counter(header(record, "ce_id") for record in sandbox.new_records())
    assert set(ids) == {f"e{n}" for n in range(100)}


def test_a_position_moved_by_another_is_not_overwritten(
    sandbox: Sandbox, unique: Unique, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two collectors on one connector: the slower one is refused and starts over from what the faster one saved."""
    begin, sent = EventProducer.begin, 0

    def meddling(self: EventProducer, topic: str, records: Any) -> InFlightRecords:
        nonlocal sent
        sent += 1
        if sent == 1:
            with sandbox.registry.session() as session:
                positions.move(session, name, 0, {"next": 50})
        return begin(self, topic, records)

    monkeypatch.setattr(EventProducer, "begin", meddling)
    name = sandbox.add(unique("c"), source="fake")
    assert sandbox.collect(name) == 0
    assert fake.afters == [None, FakePosition(next=50)]
    assert sandbox.state(name)[1].events == 50


def test_without_kafka_the_connector_waits_and_nothing_moves(
    sandbox: Sandbox, unique: Unique, fake: type[Fake]
) -> None:
    name = sandbox.add(unique("c"), source="fake")
    nowhere = replace(sandbox.settings, kafka="127.0.0.1:1")

    async def run() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(Collector(sandbox.registry, nowhere, [name]).run(stop))
        async with asyncio.timeout(30):
            while (connector := sandbox.state(name)[0]).last_error is None:  # noqa: ASYNC110 - it is in Postgres
                await asyncio.sleep(0.05)
        assert connector.state is State.RUNNING and connector.next_try_at is not None
        assert "Kafka at 127.0.0.1:1 did not answer" in str(connector.last_error)
        stop.set()
        async with asyncio.timeout(12):
            assert await running == 0

    asyncio.run(run())
    assert sandbox.state(name)[1].position is None


class Log:
    """The log of a collector process, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stderr is not None
        self._thread = threading.Thread(target=lambda: [self._lines.put(line) for line in process.stderr or ()])
        self._thread.start()

    def wait_for(self, text: str) -> str:
        """The next line with `text` in it."""
        while text not in (line := self._lines.get(timeout=20)):
            pass
        return line

    def close(self) -> None:
        """To be called after the process ended."""
        self._thread.join()


@pytest.mark.slow
def _assert_it_shows_what_it_does(sandbox: Sandbox, process: str, name: str) -> None:
    with sandbox.registry.session() as session:
        rows = session.scalars(select(ProcessRow).where(ProcessRow.kind == "collector"))
        row = next(row for row in rows if row.name.endswith(process))
        endpoint, rss_mb = row.endpoint, row.rss_mb
    assert endpoint.startswith("http://127.0.0.1:") and 20 < rss_mb < 500
    with urllib.request.urlopen(f"{endpoint}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    with urllib.request.urlopen(f"{endpoint}/metrics", timeout=5) as answer:
        page = answer.read().decode()
    labels = f'connector="{name}",stream="{sandbox.stream}"'
    assert f"clearwell_connector_events_total{{{labels}}} 11.0" in page
    assert f'clearwell_connector_state{{connector="{name}",state="running",stream="{sandbox.stream}"}} 1.0' in page
    assert "\nprocess_resident_memory_bytes " in page


def test_a_running_collector_picks_up_pauses_and_stops(sandbox: Sandbox, unique: Unique) -> None:
    path = sandbox.folder / "growing.ndjson"
    path.write_bytes(b"\n".join(lines(10)) + b"\n")
    process = sandbox.start()
    log = Log(process)
    try:
        log.wait_for("collector started")
        name = sandbox.add(unique("c"), path=str(path), follow=True, poll_seconds=0.02)
        log.wait_for(f"connector {name}: reading")
        until(lambda: sandbox.state(name)[1].events == 10)
        with path.open("ab") as file:
            file.write(b'{"id":"new"}\n')
        until(lambda: sandbox.state(name)[1].events == 11)
        _assert_it_shows_what_it_does(sandbox, f":{process.pid}", name)
        with sandbox.registry.session() as session:
            connectors.set_state(session, name, State.PAUSED, "pause")
        log.wait_for(f"connector {name}: stopped")
        with path.open("ab") as file:
            file.write(b'{"id":"paused"}\n')
        with sandbox.registry.session() as session:
            connectors.set_state(session, name, State.RUNNING, "resume")
        until(lambda: sandbox.state(name)[1].events == 12)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
        assert process.stderr is not None
        process.stderr.close()
    assert len(sandbox.new_records()) == 12


def test_it_begins_when_a_contract_is_published_and_takes_its_revisions_over(sandbox: Sandbox, unique: Unique) -> None:
    forget_contract(sandbox.settings.postgres, sandbox.stream)
    path = sandbox.folder / "growing.ndjson"
    path.write_bytes(b"\n".join(lines(100)) + b"\n")
    name = sandbox.add(unique("c"), path=str(path), follow=True, poll_seconds=0.02)
    text = sandbox.contract_file.read_text()

    def has_read(count: int) -> bool:
        return sandbox.state(name)[1].events == count

    async def scenario() -> None:
        stop = asyncio.Event()
        collecting = asyncio.create_task(Collector(sandbox.registry, sandbox.settings, [name]).run(stop))
        untold = f'No contract of the stream "{sandbox.stream}" is published.'
        await asyncio.to_thread(until, lambda: str(sandbox.state(name)[0].last_error).startswith(untold))
        assert sandbox.state(name)[0].state is State.RUNNING
        sandbox.publish()
        await asyncio.to_thread(until, partial(has_read, 100), 5.0)
        sandbox.contract_file.write_text(text.replace("key: id", "key: n"))
        sandbox.publish()
        came = sandbox.new_records()
        while not came[-1].key.isdigit() and len(came) < 3_000:  # each round waits for a save, a poll is a second
            with path.open("ab") as file:
                file.write(b"\n".join(lines(100)) + b"\n")
            await asyncio.to_thread(until, partial(has_read, len(came) + 100))
            came += sandbox.new_records()
        assert came[-1].key.isdigit()
        assert has_read(len(came))
        stop.set()
        assert await collecting == 0

    asyncio.run(scenario())
    assert sandbox.state(name)[0].last_error is None
