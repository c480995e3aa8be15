"""Makes clients of kafka-python that leave nothing behind when Kafka is not there, and say why it does not let us in.

A client of kafka-python 3.0 that cannot bootstrap raises inside its constructor and leaves its sockets, and the admin
client its thread, to nobody: a collector that tries for hours would run out of them. A certificate, password or
mechanism that does not fit it tells to its log alone, and tries on until its time is up: so we look at the door first.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiokafka import errors as aio_errors
from aiokafka.conn import AIOKafkaConnection
from kafka import errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket

from clearwell import egress
from clearwell.egress import reachable
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka.failures import as_ours, translated
from clearwell.kafka.header_names import read_any_names
from clearwell.kafka.security import security_of

CONNECT_SECONDS = 5.0
Client = TypeVar("Client")


class JudgedSocket(KafkaNetSocket):  # type: ignore[misc] # kafka-python has no types
    """Resolves a broker's name to the addresses that may be reached, and no others: also of those that brokers tell.

    kafka-python chooses it by the scheme of `proxy_url`, its place for other ways to connect.
    """

    SCHEMES = ("judged",)

    def dns_lookup(self, host: str, port: int, raise_error: bool = False) -> list[Any]:
        """As kafka-python's; none where none may be reached, or the name can't be resolved now."""
        try:
            addresses = reachable(host, port)
        except ClearwellError:
            return []
        look_up = super().dns_lookup
        return [resolved for address in addresses for resolved in look_up(address, port, raise_error)]


JUDGED = {"proxy_url": "judged://"}
"""For `connect`: of a cluster that is not the platform's own."""


def connect(kind: Callable[..., Client], bootstrap: str, **config: Any) -> Client:
    """A `kind` (KafkaProducer, KafkaAdminClient) connected to `bootstrap`, "host:port[,host:port]".

    Security is that of `clearwell.kafka.security`, unless `config` has a `security_protocol` of its own.
    Raises Retryable when none of the addresses answers within 5 seconds, ConfigError when they are none, or refuse us.
    """
    if "security_protocol" not in config:
        config = security_of(bootstrap).client_options() | config
    if "allow_auto_create_topics" in getattr(kind, "DEFAULT_CONFIG", ()):
        config = {"allow_auto_create_topics": False} | config  # a question must not make a topic
    require_reachable(bootstrap, config)
    read_any_names()
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


def require_reachable(bootstrap: str, options: Mapping[str, Any]) -> None:
    """Raises Retryable when no address takes a connection, ConfigError when one is no host:port.

    With TLS or SASL in the client `options`, also when certificate, user, password or mechanism are not accepted.
    """
    context: ssl.SSLContext | None = options.get("ssl_context")
    opened = egress.connect if options.get("proxy_url") else _connected
    for host, port in _addresses(bootstrap):
        try:
            with opened(host, port, CONNECT_SECONDS) as plain:
                if context is not None:
                    context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLError as error:
            raise ConfigError(
                f"Kafka at {bootstrap} and this program can't agree on TLS ({_reason(error)}): check whether it speaks "
                "TLS, which authority is trusted (CLEARWELL_KAFKA_CA), and the name in its certificate."
            ) from None
        except OSError:
            continue
        if options.get("sasl_mechanism"):
            _require_admitted(bootstrap, host, port, options)
        return
    raise Retryable(
        f"Kafka at {bootstrap} did not answer while connecting: is it running, and is CLEARWELL_KAFKA right?"
    )


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((host, port), seconds)


def _addresses(bootstrap: str) -> list[tuple[str, int]]:
    addresses = []
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"{bootstrap!r} is no list of host:port addresses: set CLEARWELL_KAFKA right.")
        addresses.append((host.strip("[]"), int(port)))
    return addresses


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or type(error).__name__).lower().replace("_", " ")


def _require_admitted(bootstrap: str, host: str, port: int, options: Mapping[str, Any]) -> None:
    """Raises ConfigError when a broker refuses user, password or mechanism. Asked by aiokafka, which hears it: brokers
    hang up together with their answer, and kafka-python then often takes that for a broken connection.
    """
    login = {name: value for name, value in options.items() if name.startswith(("sasl_", "ssl_context", "security_"))}

    async def log_in() -> None:
        connection = AIOKafkaConnection(host, port, request_timeout_ms=int(CONNECT_SECONDS * 1000), **login)
        try:
            await connection.connect()
        finally:  # its socket is closed a moment later, which the end of the loop would forestall
            await asyncio.wait([connection.close()], timeout=1.0)

    try:
        with ThreadPoolExecutor(1) as thread:  # this one may be running a loop
            thread.submit(asyncio.run, log_in()).result()
    except aio_errors.SaslAuthenticationFailed:
        raise as_ours(errors.SaslAuthenticationFailedError(), bootstrap, "connecting") from None
    except aio_errors.UnsupportedSaslMechanismError:
        raise as_ours(errors.UnsupportedSaslMechanismError(), bootstrap, "connecting") from None
    except (aio_errors.KafkaError, OSError, TimeoutError):
        return  # the client that is made next will say that it does not answer
