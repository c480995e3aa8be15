"""Questions to Kafka and the making of topics, by kafka-python's admin client; every function blocks.

Clients are kept, one for each list of addresses, and made anew after a failure. All functions raise Retryable when
Kafka does not answer, ConfigError when something must be set right, each with one sentence.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.protocol.consumer import IsolationLevel, OffsetForLeaderEpochRequest

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.clients import connect
from clearwell.kafka.failures import translated
from clearwell.kafka.topics import PARTITIONS, TopicPlan, differences, has_senders_times, plans

TIMEOUT_MS = 5_000

MOST_QUESTIONS = 1_000
"""At once on one connection; a worker asks for many jobs, and kafka-python fails what is above its limit of 5."""

_EXISTS = 36  # TOPIC_ALREADY_EXISTS: someone else was faster, which is fine

_locks: dict[int, threading.Lock] = {}  # by process: a fork may copy one that a thread of its parent holds
_creating = threading.Lock()
T = TypeVar("T")


@dataclass(slots=True)
class _Kept:
    """A client, and how many questions it is asked right now: one that failed is closed after the last of them."""

    client: KafkaAdminClient
    questions: int = 0
    failed: bool = False


_clients: dict[tuple[int, str], _Kept] = {}
"""By process and addresses: in a child made by fork, a parent's client has no thread that would ever answer."""


def ensure_topics(
    bootstrap: str, stream: str, version: int, *, partitions: int = PARTITIONS, replication: int | None = None
) -> dict[str, str]:
    """Create what is missing of raw, clean, dead and dropped; returns topic name → id. Doing it again is harmless.

    `replication` is the number of copies; None is the cluster's default. Where raw exists its number of partitions
    counts, not `partitions` (invariant 3: p of raw goes to p of clean).
    Raises ConfigError when an existing topic has other partitions than raw or settings that would lose events.
    """
    topics = plans(stream, version)
    described = describe(bootstrap, [plan.name for plan in topics])
    partitions = len(described[topics[0].name]["partitions"]) if topics[0].name in described else partitions
    if len(described) < len(topics):
        with _creating:  # many connectors of a new stream start at once: the first creates, the others find
            there = describe(bootstrap, [plan.name for plan in topics])
            if missing := [plan for plan in topics if plan.name not in there]:
                _create(bootstrap, missing, partitions, replication)
    ids = require_topics(bootstrap, stream, version)
    _check_settings(bootstrap, [plan for plan in topics if plan.name in described])
    return ids


def require_topics(bootstrap: str, stream: str, version: int) -> dict[str, str]:
    """The ids of a stream's four topics by name. Raises ConfigError when one is missing or its partitions differ."""
    names = [plan.name for plan in plans(stream, version)]
    described = describe(bootstrap, names)
    missing = [name for name in names if name not in described]
    if missing:
        raise ConfigError(
            f"Topic {', '.join(missing)} does not exist on {bootstrap}: run `clearwell up`, or register a connector."
        )
    _check_sizes(names, described)
    return {name: _printed(described[name]["topic_id"]) for name in names}


def missing_topics(bootstrap: str, stream: str, version: int) -> list[str]:
    """The topics that `ensure_topics` would create; changes nothing. Raises ConfigError as it does."""
    topics = plans(stream, version)
    described = describe(bootstrap, [plan.name for plan in topics])
    there = [plan for plan in topics if plan.name in described]
    _check_sizes([plan.name for plan in there], described)
    _check_settings(bootstrap, there)
    return [plan.name for plan in topics if plan.name not in described]


def topic_id(bootstrap: str, topic: str) -> str:
    """Kafka's id of a topic (KIP-516) in its own spelling: 22 characters of base64url (invariant 3)."""
    return _printed(_one(bootstrap, topic)["topic_id"])


class TopicNow(str):
    """A topic's id; `epochs` are the leader epochs of its partitions at that moment."""

    __slots__ = ("epochs",)
    epochs: Mapping[int, int]


def topic_now(bootstrap: str, topic: str) -> TopicNow:
    """The id of a topic, and the leader epochs of its partitions, in one answer."""
    topic_info = _one(bootstrap, topic)
    now = TopicNow(_printed(topic_info["topic_id"]))
    now.epochs = {partition["partition_index"]: partition["leader_epoch"] for partition in topic_info["partitions"]}
    return now


def id_and_ends(bootstrap: str, topic: str) -> tuple[str, dict[int, int]]:
    """The id of a topic, and its end offsets as `end_offsets` has them; the id was the topic's before them."""
    described = _one(bootstrap, topic)
    return _printed(described["topic_id"]), _offsets_of(bootstrap, topic, described["partitions"], OffsetSpec.LATEST)


def end_of_epoch(bootstrap: str, topic: str, partition: int, epoch: int) -> int:
    """The offset at which a leader epoch ends in a partition's log, its end where that is the present one; -1: unknown.

    Of an epoch that wrote nothing, the end of the newest before it (KIP-320).
    """

    async def question(client: KafkaAdminClient) -> int:
        topic_partition = TopicPartition(topic, partition)
        (leader,) = await client._async_get_leader_for_partitions([topic_partition])  # kafka-python has no public way
        asked = OffsetForLeaderEpochRequest.OffsetForLeaderTopic.OffsetForLeaderPartition(
            partition=partition, current_leader_epoch=-1, leader_epoch=epoch
        )
        request = OffsetForLeaderEpochRequest(replica_id=-1, topics=[(topic, [asked])])
        answer = (await client._manager.send(request, node_id=leader)).topics[0].partitions[0]
        if answer.error_code:
            raise errors.for_code(answer.error_code)
        return int(answer.end_offset)

    return int(ask(bootstrap, f"reading epochs of {topic}", lambda client: client._manager.run(question, client)))


def partition_count(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has."""
    return len(_one(bootstrap, topic)["partitions"])


def begin_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Partition → offset of the oldest record still there (the end offset where there is none)."""
    return _offsets(bootstrap, topic, OffsetSpec.EARLIEST)


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Partition → offset after the last record that may be read (one of an open transaction may not)."""
    return _offsets(bootstrap, topic, OffsetSpec.LATEST)


def offsets_at(bootstrap: str, topic: str, milliseconds: int) -> dict[int, int | None]:
    """Partition → offset of the first record appended at or after a Unix time in ms; None where there is none.

    Raises ConfigError where the topic's time stamps are those of its senders: they need not grow with the offset.
    """
    if has_senders_times(_settings(bootstrap, [topic])[topic]):
        raise ConfigError(
            f"{topic} bears the times of its senders, which don't tell when an event arrived: say offsets instead of "
            "times, or set message.timestamp.type=LogAppendTime for the events to come."
        )
    offsets = _offsets(bootstrap, topic, milliseconds)
    return {partition: offset if offset >= 0 else None for partition, offset in offsets.items()}


def add_partitions(bootstrap: str, topic: str, partitions: int) -> None:
    """Have a topic so many partitions, and wait until Kafka tells of them; it takes none away."""
    ask(bootstrap, f"adding partitions to {topic}", lambda client: client.create_partitions({topic: partitions}))
    until = time.monotonic() + TIMEOUT_MS / 1000
    while partition_count(bootstrap, topic) < partitions and time.monotonic() < until:
        time.sleep(0.02)


def delete_topics(bootstrap: str, topics: Iterable[str]) -> None:
    """Delete topics with all they hold; those that do not exist are passed over."""
    doomed = list(describe(bootstrap, list(topics)))
    if doomed:
        ask(bootstrap, "deleting topics", lambda client: client.delete_topics(doomed))


def close() -> None:
    """Let go of every kept client; the next question makes a new one."""
    with _lock():
        for (process, _), kept in _clients.items():
            if process == os.getpid():
                kept.client.close()
        _clients.clear()


def ask(bootstrap: str, doing: str, question: Callable[[KafkaAdminClient], T]) -> T:
    """Ask the kept client a question; `doing` says in an error what was tried. A client that failed is forgotten."""
    with translated(bootstrap, doing):
        kept = _enter(bootstrap)
        try:
            return question(kept.client)
        except Exception:
            kept.failed = True
            raise
        finally:
            _leave(bootstrap, kept)


def _lock() -> threading.Lock:
    return _locks.setdefault(os.getpid(), threading.Lock())


def _enter(bootstrap: str) -> _Kept:
    key = os.getpid(), bootstrap
    with _lock():
        if key not in _clients:
            client = connect(
                KafkaAdminClient,
                bootstrap,
                request_timeout_ms=TIMEOUT_MS,
                max_in_flight_requests_per_connection=MOST_QUESTIONS,
            )
            _clients[key] = _Kept(client)
        _clients[key].questions += 1
        return _clients[key]


def _leave(bootstrap: str, kept: _Kept) -> None:
    key = os.getpid(), bootstrap
    with _lock():
        kept.questions -= 1
        if kept.failed and _clients.get(key) is kept:
            del _clients[key]
        last = kept.failed and not kept.questions
    if last:
        kept.client.close()


def describe(bootstrap: str, topics: list[str]) -> dict[str, Any]:
    """What Kafka says of topics, by name, in one request; those that do not exist are left out."""
    answers = ask(bootstrap, "describing topics", lambda client: client.describe_topics(topics))
    return {answer["name"]: answer for answer in answers if answer["error_code"] == 0}


def _one(bootstrap: str, topic: str) -> Any:
    described = describe(bootstrap, [topic])
    if topic not in described:
        raise Retryable(f"Topic {topic} does not exist on {bootstrap} (yet): register a connector for it.")
    return described[topic]


def _check_sizes(names: list[str], described: Mapping[str, Any]) -> None:
    sizes = {name: len(described[name]["partitions"]) for name in names}
    most = max(sizes.values(), default=0)
    fewer = [name for name, size in sizes.items() if size < most]
    if fewer:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        stream = fewer[0].split(".")[1]
        raise ConfigError(
            f"A stream's topics need the same number of partitions, but {told}. Add partitions to {', '.join(fewer)} "
            f"by `clearwell stream partitions {stream} {most}`: nothing is lost. Made anew, a topic would lose "
            "what it holds."
        )


def _create(bootstrap: str, topic_plans: list[TopicPlan], partitions: int, replication: int | None) -> None:
    topics = {
        plan.name: {
            "num_partitions": partitions,
            "replication_factor": replication or -1,
            "configs": plan.settings(replication),
        }
        for plan in topic_plans
    }

    def create(client: KafkaAdminClient) -> None:
        answers = client.create_topics(topics, raise_errors=False)["topics"]
        for answer in answers:
            if answer["error_code"] == errors.InvalidReplicationFactorError.errno and replication is None:
                raise Retryable(
                    f"Kafka at {bootstrap} has fewer brokers ready than its own default.replication.factor asks for, "
                    f"while creating {', '.join(topics)}; trying again."
                )
            if answer["error_code"] not in (0, _EXISTS):
                raise errors.for_code(answer["error_code"])
        client.wait_for_topics(list(topics))

    ask(bootstrap, f"creating {', '.join(topics)}", create)


def _check_settings(bootstrap: str, existing: list[TopicPlan]) -> None:
    if not existing:
        return
    settings = _settings(bootstrap, [plan.name for plan in existing])
    for plan in existing:
        wrong = differences(plan, settings[plan.name])
        if wrong:
            raise ConfigError(f"Topic {plan.name} exists, but {' and '.join(wrong)}.")


def _settings(bootstrap: str, topics: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    configs = ask(bootstrap, "reading topic settings", lambda c: c.describe_configs(resources, config_filter="all"))
    return {topic: {name: entry["value"] for name, entry in configs["topic"][topic].items()} for topic in topics}


def _offsets(bootstrap: str, topic: str, spec: Any) -> dict[int, int]:
    return _offsets_of(bootstrap, topic, _one(bootstrap, topic)["partitions"], spec)


def _offsets_of(bootstrap: str, topic: str, partitions: Iterable[Mapping[str, Any]], spec: Any) -> dict[int, int]:
    asked = {TopicPartition(topic, described["partition_index"]): spec for described in partitions}
    answers = ask(
        bootstrap,
        f"reading offsets of {topic}",
        lambda c: c.list_partition_offsets(asked, IsolationLevel.READ_COMMITTED),
    )
    return {partition.partition: answer.offset for partition, answer in answers.items()}


def _printed(topic_uuid: uuid.UUID | str) -> str:
    return base64.urlsafe_b64encode(uuid.UUID(str(topic_uuid)).bytes).rstrip(b"=").decode()
