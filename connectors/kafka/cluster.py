"""Another Kafka cluster, by kafka-python: who we are there, where a topic begins and ends, its records."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors

from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka.clients import JUDGED, connect

LOOK_SECONDS = 5.0
"""How often the topic's id is asked for while reading: a topic that was made again starts anew at offset 0."""

Client = TypeVar("Client")


class SourceCluster:
    """Makes clients of one cluster; all its functions block."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        isolation: str,
        security: str,
        ca: str | None,
        mechanism: str,
        username: str | None,
        password: str | None,
    ) -> None:
        """Does no I/O."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._isolation = isolation
        self._security = security
        self._ca = ca
        self._login = (mechanism, username, password)
        self._looked = 0.0

    def topic_id(self) -> str:
        """Kafka's id of the topic. Raises ConfigError when it is not there or may not be seen."""
        with self._failures(), closing(self._connect(KafkaAdminClient)) as admin:
            topics = admin.describe_topics([self._topic])
        for topic in topics:
            if topic["name"] == self._topic and not topic["error_code"]:
                self._looked = time.monotonic()
                return str(topic["topic_id"])
        raise ConfigError(f"{self._bootstrap} has no topic {self._topic}, or it may not be seen: check its name.")

    def require_same(self, topic_id: str) -> None:
        """Raises ConfigError when the topic has another id by now; asks every few seconds only."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        if self.topic_id() != topic_id:
            raise ConfigError(
                f"{self._topic} was deleted and made again while it was read: look whether anything of the old one is "
                "missing, then reset the connector."
            )

    def open(self, most: int) -> Reading:
        """A consumer on all partitions of the topic that returns at most `most` records at once."""
        with self._failures():
            consumer = self._connect(
                KafkaConsumer,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level=self._isolation,
                max_poll_records=most,
                max_partition_fetch_bytes=4_194_304,
                fetch_max_wait_ms=100,
                metadata_max_age_ms=10_000,
                metrics_enabled=False,
            )
        return Reading(consumer, self._topic, self._failures)

    def _connect(self, kind: Callable[..., Client], **options: Any) -> Client:
        for address in self._bootstrap.split(","):
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ConfigError("`bootstrap` is no list of host:port addresses.")
            require_allowed(host.strip("[]"), int(port))
        return connect(kind, self._bootstrap, **self._who(), **JUDGED, **options)

    def _who(self) -> dict[str, Any]:
        options: dict[str, Any] = {"security_protocol": self._security.upper()}
        if self._security.endswith("ssl"):
            options["ssl_context"] = self._trust()
        if self._security.startswith("sasl"):
            mechanism, username, password = self._login
            if not username or not password:
                raise ConfigError(f"`security: {self._security}` needs `username` and `password`.")
            options |= {
                "sasl_mechanism": mechanism,
                "sasl_plain_username": username,
                "sasl_plain_password": password,
            }
        return options

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca)
        except (OSError, ssl.SSLError):
            raise ConfigError(f"{self._ca} holds no certificates in PEM form: set `ca` right.") from None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Errors of kafka-python inside become ours, without its texts: those may quote data."""
        try:
            yield
        except Retryable:
            raise Retryable(f"Kafka at {self._bootstrap} did not answer: is it running, is `security` right?") from None
        except ClearwellError:
            raise
        except (errors.AuthorizationError, errors.SaslAuthenticationFailedError) as error:
            raise ConfigError(
                f"Kafka at {self._bootstrap} refused us ({type(error).__name__}): check `username`, `password` and "
                "whether this user may read the topic."
            ) from None
        except (errors.OffsetOutOfRangeError, errors.NoOffsetForPartitionError):
            raise ConfigError(
                f"{self._topic} no longer holds the records that come next (retention, or it was cut): they are lost "
                "to this connector. Set its position to where it should go on."
            ) from None
        except (errors.UnsupportedVersionError, errors.KafkaConfigurationError) as error:
            raise ConfigError(f"Kafka at {self._bootstrap} can't be read ({type(error).__name__}).") from None
        except (errors.KafkaError, OSError) as error:
            raise Retryable(f"Kafka at {self._bootstrap} failed while reading ({type(error).__name__}).") from None


class Reading:
    """A consumer on all partitions of a topic. Offsets are lists by partition, from 0 on. One thread at a time."""

    def __init__(self, consumer: Any, topic: str, failures: Callable[[], Any]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._failures = failures
        self._next: list[int] = []
        self.behind: int | None = None
        """Offsets between here and the ends of the partitions, as the last answers told them; None before there is one.

        Markers of transactions are offsets, too.
        """

    def begins(self) -> list[int]:
        """The oldest offsets still there."""
        return self._offsets(self._consumer.beginning_offsets)

    def ends(self) -> list[int]:
        """The offsets that come after the last records that may be read now."""
        return self._offsets(self._consumer.end_offsets)

    def continued(self, offsets: Sequence[int]) -> list[int]:
        """`offsets`, and the beginning of partitions that came since. Raises ConfigError when a record is gone."""
        begins, ends = self.begins(), self.ends()
        if len(offsets) > len(begins):
            raise ConfigError(f"{self._topic} has fewer partitions than were read of it: reset the connector.")
        offsets_now = [*offsets, *begins[len(offsets) :]]
        for partition, (offset, begin, end) in enumerate(zip(offsets_now, begins, ends, strict=True)):
            if offset < begin:
                raise ConfigError(
                    f"{self._topic}: offsets {offset} to {begin - 1} of partition {partition} are gone (retention) "
                    "before they were read. Set the connector's position to go on without them."
                )
            if offset > end:
                raise ConfigError(
                    f"{self._topic}: partition {partition} ends at {end}, before offset {offset} where reading "
                    "stopped: is this the right cluster? Set or reset the connector's position."
                )
        return offsets_now

    def begin(self, offsets: Sequence[int]) -> None:
        """Start reading there."""
        with self._failures():
            places = self._places()
            self._consumer.assign(places)
            for topic_partition, offset in zip(places, offsets, strict=True):
                self._consumer.seek(topic_partition, offset)
        self._next = list(offsets)

    def poll(self, milliseconds: int) -> list[Any]:
        """The next records, in order within each partition; none when none came in time."""
        with self._failures():
            polled = self._consumer.poll(timeout_ms=milliseconds)
            places = self._places()
            self._next = [self._consumer.position(topic_partition) for topic_partition in places[: len(self._next)]]
            self.behind = self._behind(places)
            if len(places) > len(self._next):  # partitions were added
                self.begin(self._next + self.begins()[len(self._next) :])
        return [record for records in polled.values() for record in records]

    def _behind(self, places: Sequence[Any]) -> int | None:
        behind = 0
        for topic_partition, offset in zip(places, self._next, strict=False):
            end: int | None = self._consumer.highwater(topic_partition)
            if end is None:
                return None
            behind += max(end - offset, 0)
        return behind

    def offsets(self) -> list[int]:
        """Where reading goes on."""
        return list(self._next)

    def reached(self, ends: Sequence[int]) -> bool:
        """Whether everything before `ends` was read."""
        return all(offset >= end for offset, end in zip(self._next, ends, strict=True))

    def close(self) -> None:
        """Let go of the connections; calling it again is harmless."""
        self._consumer.close(timeout_ms=2_000)

    def _offsets(self, ask: Callable[[list[TopicPartition]], Any]) -> list[int]:
        with self._failures():
            places = self._places()
            offsets = ask(places)
            return [int(offsets[topic_partition]) for topic_partition in places]

    def _places(self) -> list[TopicPartition]:
        partitions = self._consumer.partitions_for_topic(self._topic)
        if not partitions:
            raise Retryable(f"{self._topic} is not known to the cluster yet.")
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
