"""Makes clients of kafka-python that leave nothing behind when Kafka is not there.

A client of kafka-python 3.0 that cannot bootstrap raises inside its constructor and leaves its sockets, and the admin
client its thread, to nobody: a collector that tries for hours would run out of them.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.failures import translated

CONNECT_SECONDS = 5.0
Client = TypeVar("Client")


def connect(kind: Callable[..., Client], bootstrap: str, **config: Any) -> Client:
    """A `kind` (KafkaProducer, KafkaAdminClient) connected to `bootstrap`, "host:port[,host:port]".

    Raises Retryable when none of the addresses answers within 5 seconds, ConfigError when they are none.
    """
    require_reachable(bootstrap)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # our callers tell every failure, in one sentence
    made: list[KafkaNetClient] = []

    def remembering(**net_config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**net_config))
        return made[-1]

    with translated(bootstrap, "connecting"):
        try:
            return kind(
                bootstrap_servers=bootstrap.split(","),
                bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
                kafka_client=remembering,
                **config,
            )
        except BaseException:
            for client in made:
                client.close()
            raise


def require_reachable(bootstrap: str) -> None:
    """Raises Retryable when no address takes a connection, ConfigError when one is no host:port."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{bootstrap!r} is no list of host:port addresses: set CLEARWELL_KAFKA right.")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except OSError:
            continue
        return
    raise Retryable(
        f"Kafka at {bootstrap} did not answer while connecting: is it running, and is CLEARWELL_KAFKA right?"
    )
