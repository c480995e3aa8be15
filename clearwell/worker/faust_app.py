"""A Faust app as Clearwell uses it: batch transport, no web server, no tables, no topic declarations."""

from __future__ import annotations

from typing import Any

import faust

from clearwell.errors import Fatal
from clearwell.kafka.security import KafkaSecurity, security_of
from clearwell.worker.no_tables import NoTables
from clearwell.worker.transport import BatchConsumer, BatchProducer, Positions

REQUEST_TIMEOUT = 300.0
"""Seconds that a produce request is retried in place before the process gives up and ends."""

MOST_WAITING = 7 * 86_400.0
"""Seconds that a member of a group may take nothing: neither a store that is down nor a pause is a reason to leave it.
Whether the process lives, its heartbeats tell within the session timeout."""


PRODUCER_MAX_BATCH = 8_388_608
"""Bytes. A clean or dead record may be larger than its raw event (sealing adds a third), never larger than this."""


class _App(faust.App):
    positions: Positions

    def Table(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: tables are silently wrong with batches; state lives in the log and in the destinations."""
        raise Fatal("Faust tables do not work with the batch transport.")

    GlobalTable = SetTable = SetGlobalTable = Table

    def _create_directories(self) -> None:
        """None: they are for tables, and Faust would make them in the working directory."""


def build_app(group: str, bootstrap: str, positions: Positions, instance: str | None = None) -> faust.App:
    """A Faust app for one consumer group; settings as measured in the facts about Faust.

    `instance` is the member's name in the group (static membership): who comes back under it takes its partitions back
    at once. None means an ordinary member. Raises ConfigError as `security_of` does.
    """
    app = _App(
        group,
        broker=[f"kafkabatch://{address}" for address in bootstrap.split(",")],
        broker_credentials=_credentials(security_of(bootstrap)),
        agent_supervisor="mode.CrashingSupervisor",
        TableManager=NoTables,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=True,
        stream_buffer_maxsize=1,  # a second batch a partition: 40 MB, and no faster
        broker_max_poll_records=6_000,  # see BATCH_BYTES
        broker_commit_interval=0.5,
        broker_session_timeout=10.0,
        broker_max_poll_interval=MOST_WAITING,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=30.0,
        producer_request_timeout=REQUEST_TIMEOUT,
        consumer_max_fetch_size=4_194_304,
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        # A broker that has just come back may not name the topic yet: look again soon, not in Faust's five minutes.
        consumer_metadata_max_age_ms=5_000,
        producer_compression_type="zstd",
        producer_max_batch_size=PRODUCER_MAX_BATCH,
        producer_max_request_size=PRODUCER_MAX_BATCH,
        producer_linger=0.0,
    )
    app.positions = positions
    return app


def _credentials(security: KafkaSecurity) -> faust.types.auth.CredentialsT | None:
    if security.mechanism is not None:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            ssl_context=security.context,
            mechanism=security.mechanism,
        )
    return faust.SSLCredentials(security.context) if security.context is not None else None


def producer_of(app: faust.App) -> BatchProducer:
    """The producer of a started app."""
    producer: Any = app.producer
    if not isinstance(producer, BatchProducer):
        raise TypeError(f"the app's producer is a {type(producer).__name__}")
    return producer


def consumer_of(app: faust.App) -> BatchConsumer:
    """The consumer of a started app."""
    consumer: Any = app.consumer
    if not isinstance(consumer, BatchConsumer):
        raise TypeError(f"the app's consumer is a {type(consumer).__name__}")
    return consumer
