"""Another Kafka cluster to write to: who we are there, and a producer that is made anew after each failure."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaTimeoutError

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka.clients import JUDGED, connect
from clearwell.kafka.failures import RecordTooLarge, as_ours, translated
from clearwell.kafka.message_format import Header
from clearwell.kafka.security import KafkaSecurity

DELIVERY_SECONDS = 30
"""How long kafka-python retries by itself before a record has failed."""


class OutgoingRecord(NamedTuple):
    """What is sent; the key decides the partition, as with every Kafka client."""

    key: bytes | None
    value: bytes
    headers: Sequence[Header]


class DestinationCluster:
    """One topic of one cluster. One thread at a time."""

    def __init__(self, bootstrap: str, topic: str, security: KafkaSecurity, client_id: str) -> None:
        """Does no I/O. Raises ConfigError when `bootstrap` is no list of addresses."""
        self._addresses = [_address(address) for address in bootstrap.split(",")]
        self._bootstrap, self._topic, self._security, self._client_id = bootstrap, topic, security, client_id
        self._producer: KafkaProducer | None = None

    def reach(self) -> None:
        """Raises Retryable or ConfigError when the cluster does not answer, or does not let us in."""
        with self._failures():
            self._admin().close()

    def require_topic(self) -> None:
        """Raises ConfigError when the topic is not there or may not be seen."""
        doing = f"looking for {self._topic}"
        with self._failures(), contextlib.closing(self._admin()) as admin, translated(self._bootstrap, doing):
            topics = admin.describe_topics([self._topic])
        if not any(topic["name"] == self._topic and not topic["error_code"] for topic in topics):
            raise ConfigError(
                f"Kafka at {self._bootstrap} has no topic {self._topic}, or it may not be seen: make it there, or name "
                "another in the route."
            )

    def send(self, records: Sequence[OutgoingRecord], what: str) -> None:
        """Return when Kafka has acknowledged all; `what` tells which they are, for messages.

        Raises RowsRefused when they are larger than the topic takes, Retryable and ConfigError; some may be in the
        topic all the same.
        """
        doing = f"writing to {self._topic}"
        try:
            with self._failures():
                with translated(self._bootstrap, doing):
                    producer = self._producer = self._producer or self._new_producer()
                    futures = [
                        producer.send(self._topic, record.value, record.key, record.headers) for record in records
                    ]
                    producer.flush(DELIVERY_SECONDS + 10)
                for future in futures:  # a flush ends well also when records failed: only each future tells
                    if not future.is_done or future.failed():
                        raise as_ours(future.exception or KafkaTimeoutError("no outcome"), self._bootstrap, doing)
        except RecordTooLarge:
            told = f"Kafka at {self._bootstrap} takes no records as large as in {what}."
            raise RowsRefused(RowReason.TOO_LARGE, told) from None

    def close(self) -> None:
        """Give up what is not acknowledged."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=0)

    def _new_producer(self) -> KafkaProducer:
        self._require_allowed()
        return connect(
            KafkaProducer,
            self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            batch_size=250_000,
            linger_ms=5,
            max_request_size=8_000_000,
            delivery_timeout_ms=DELIVERY_SECONDS * 1000,
            request_timeout_ms=10_000,
            max_block_ms=10_000,
            metrics_enabled=False,
            **self._security.client_options(),
            **JUDGED,
        )

    def _admin(self) -> KafkaAdminClient:
        self._require_allowed()
        return connect(KafkaAdminClient, self._bootstrap, **self._security.client_options(), **JUDGED)

    def _require_allowed(self) -> None:
        for host, port in self._addresses:
            require_allowed(host, port)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """After any, the producer is given up, since its sequence is broken; sentences speak of this cluster."""
        try:
            yield
        except Retryable:
            self.close()
            told = (
                f"Kafka at {self._bootstrap} did not answer: is it running, and are `bootstrap` and `security` right?"
            )
            raise Retryable(told) from None
        except ClearwellError:
            self.close()
            raise


def security_of(
    protocol: str, ca: str | None, mechanism: str, username: str | None, password: str | None
) -> KafkaSecurity:
    """What clients are told. Raises ConfigError when something is missing, or `ca` holds no certificates."""
    context: ssl.SSLContext | None = None
    if protocol.endswith("ssl"):
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError):
            raise ConfigError(f"{ca} holds no certificates in PEM form: set `ca` right.") from None
    if not protocol.startswith("sasl"):
        return KafkaSecurity(protocol.upper(), context)
    if not username or not password:
        raise ConfigError(f"`security: {protocol}` needs `username` and `password`.")
    return KafkaSecurity(protocol.upper(), context, mechanism, username, password)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError("`bootstrap` is no list of host:port addresses.")
    return host.strip("[]"), int(port)
