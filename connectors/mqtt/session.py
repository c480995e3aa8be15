"""One connection to an MQTT broker, by paho: its messages in a queue, acknowledged by hand."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from clearwell.egress import connect, require_allowed
from clearwell.errors import ClearwellError, ConfigError, Retryable

ANSWER_SECONDS = 10.0
WAITING_MESSAGES = 10_000
"""Messages in memory at most: more block the connection, so that the broker holds them."""

_REFUSED = ("Bad user name or password", "Not authorized", "Client identifier not valid", "Banned")


class MqttMessage(NamedTuple):
    """`mid` is the packet's number; `received_ns` the time it came; `retained`: it was there before we subscribed."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    received_ns: int
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """Where the broker is, and who we are there."""

    url: str
    username: str | None
    password: str | None = field(repr=False)  # invariant 10
    ca: str | None
    version: str
    session_expiry: int

    def open(self, client_id: str | None, *, clean: bool) -> Session:
        """Connect; no `client_id` means a passing one, `clean` that the broker begins a new session. Blocks.

        Raises ConfigError when the broker refuses us, Retryable when it does not answer.
        """
        host, port, secure = self._place()
        require_allowed(host, port)
        v5 = self.version == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id or f"clearwell-{uuid.uuid4().hex[:12]}",
            clean_session=None if v5 else clean,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = ANSWER_SECONDS
        if self.username:
            client.username_pw_set(self.username, self.password)
        session = Session(client, f"{host}:{port}")
        if secure:
            trust = self._trust()
            session.prove(host, port, trust)
            client.tls_set_context(trust)
        more: dict[str, Any] = {}
        if v5:
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own gap
            more = {"clean_start": clean, "properties": properties}
            properties.SessionExpiryInterval = 0 if clean else self.session_expiry
        session.connect(host, port, more)
        return session

    def _place(self) -> tuple[str, int, bool]:
        try:
            parts = urlsplit(self.url)
            secure = {"mqtt": False, "mqtts": True}[parts.scheme]
            if not parts.hostname or parts.username or parts.password:
                raise ValueError
            return parts.hostname, parts.port or (8883 if secure else 1883), secure
        except (KeyError, ValueError):
            raise ConfigError(
                "`url` is no address of a broker: write mqtt://host:1883 or mqtts://host:8883, and who we are in "
                "`username` and `password`."
            ) from None

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError):
            raise ConfigError(f"{self.ca} holds no certificates in PEM form: set `ca` right.") from None


class _Client(Client):
    def _create_socket_connection(self) -> socket.socket:
        return connect(self._host, self._port, self.connect_timeout)


class Session:
    """A connection. `take` and `acknowledge` may be called from different threads."""

    def __init__(self, client: Client, server: str) -> None:
        self._client = client
        self._place = server
        self._queue: queue.Queue[MqttMessage] = queue.Queue(WAITING_MESSAGES)
        self._early: deque[MqttMessage] = deque()
        self._answered = threading.Event()
        self._answer: Any = None
        self._ended = threading.Event()
        self._unacknowledged: set[int] = set()
        self.goes_on = False
        client.on_connect = self._on_answer
        client.on_subscribe = self._on_subscribed
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    def prove(self, host: str, port: int, trust: ssl.SSLContext) -> None:
        """Have the server prove who it is, on a connection of our own: paho leaves its socket open when that fails.

        Raises ConfigError when it can't, Retryable when it does not answer.
        """
        try:
            with (
                connect(host, port, ANSWER_SECONDS) as plain,
                trust.wrap_socket(plain, server_hostname=host),
            ):
                return
        except ssl.SSLError as error:
            raise ConfigError(
                f"The broker at {self._place} could not prove who it is ({error.reason}): set `ca` or the host right."
            ) from None
        except OSError:
            raise self._silent() from None

    def connect(self, host: str, port: int, more: dict[str, Any]) -> None:
        """Wait until the broker has let us in. Raises as `Login.open`."""
        try:
            self._client.connect(host, port, keepalive=30, **more)
        except OSError:
            raise self._silent() from None
        self._client.loop_start()
        try:
            reason = self._wait_for_answer()
            if reason.is_failure:
                raise self._refused(str(reason))
        except BaseException:
            self.close()
            raise

    def subscribe(self, topics: Sequence[str], qos: int) -> None:
        """Subscribe to all filters. Raises ConfigError when the broker refuses one."""
        self._answered.clear()
        try:
            self._client.subscribe([(topic, qos) for topic in topics])
        except ValueError:
            raise ConfigError(
                '`topics` holds what is no topic filter: "+" stands for a whole level, "#" for all at the end.'
            ) from None
        reasons = self._wait_for_answer()
        refused = [topic for topic, reason in zip(topics, reasons, strict=False) if reason.is_failure]
        if refused:
            raise ConfigError(f"The broker at {self._place} refused to send {', '.join(refused)}: grant the right.")

    def take(self, count: int, seconds: float) -> list[MqttMessage]:
        """What has come, at most `count`; waits for the first. Raises Retryable once the connection has ended."""
        if self._early:
            return [self._early.popleft() for _ in range(min(count, len(self._early)))]
        messages: list[MqttMessage] = []
        try:
            messages.append(self._queue.get(timeout=seconds))
            while len(messages) < count:
                messages.append(self._queue.get_nowait())
        except queue.Empty:
            if not messages and self._ended.is_set():
                raise Retryable(
                    f"The broker at {self._place} ended the connection: is it running, and does nobody else use this "
                    "`client_id`?"
                ) from None
        return messages

    def acknowledge(self, message: MqttMessage) -> None:
        """Tell the broker that it may forget a message."""
        self._unacknowledged.discard(message.mid)  # first: then the broker may give its number to another
        self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """End the connection; calling it again is harmless."""
        self._ended.set()
        self._client.disconnect()
        self._client.loop_stop()

    def _wait_for_answer(self) -> Any:
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._answered.wait(0.05):
            self._make_room()
            if self._ended.is_set() or time.monotonic() > deadline:
                raise self._silent()
        return self._answer

    def _make_room(self) -> None:
        """A broker may send all that we have not acknowledged before it answers: a full queue would hold that up."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._early.append(self._queue.get_nowait())

    def _silent(self) -> Retryable:
        return Retryable(f"The broker at {self._place} did not answer: is it running, and is `url` right?")

    def _refused(self, reason: str) -> ClearwellError:
        if reason in _REFUSED:
            return ConfigError(f"The broker at {self._place} refused us: check `username`, `password` and `client_id`.")
        return Retryable(f"The broker at {self._place} refused the connection ({reason}).")

    def _on_answer(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._answer = reason
        self.goes_on = bool(flags.session_present)
        self._answered.set()

    def _on_subscribed(self, client: Client, data: Any, mid: int, reasons: Any, properties: Any) -> None:
        self._answer = reasons
        self._answered.set()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if message.qos:
            if message.mid in self._unacknowledged:  # some brokers send again what is not acknowledged for seconds
                return
            self._unacknowledged.add(message.mid)
        received = MqttMessage(
            message.topic, bytes(message.payload), message.mid, message.qos, time.time_ns(), message.retain
        )
        while not self._ended.is_set():
            try:
                self._queue.put(received, timeout=0.5)
                return
            except queue.Full:
                continue

    def _on_disconnect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._ended.set()
