"""A topic of a real MQTT broker, in a session that the broker keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from clearwell.errors import Retryable
from clearwell.settings import Settings
from connectors.mqtt.session import Login, Session
from tests.support.collecting import until
from tests.support.mqtt_broker import ACK_WAIT, Broker


class MqttCase:
    """The session is begun before anything is published: what comes before it is nobody's."""

    kind = "mqtt"
    finite = False
    again_seconds = ACK_WAIT + 1.0
    """NATS sends what is new before what was not acknowledged."""

    def __init__(self, broker: Broker, topic: str, *, shared: bool = False) -> None:
        """A `shared` broker is left running."""
        self.broker, self.topic, self._shared = broker, topic, shared
        self.config: dict[str, Any] = {
            "url": broker.url,
            "topics": [f"{topic}/+"],
            "client_id": topic,
            "id_field": "id",
            "batch_events": 100,
        }
        self.broken = {
            "nobody listens": {"url": "mqtt://127.0.0.1:1"},
            "no broker's address": {"url": "http://127.0.0.1"},
            "no topic filter": {"topics": ["a/#/b"]},
        }
        self._filled = 0
        until(self._begins)
        self._client = Client(CallbackAPIVersion.VERSION2, f"{topic}-publisher")
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def _begins(self) -> bool:
        """Whether the session could be begun: a Java server is slow at first, on a busy machine."""
        session: Session | None = None
        try:
            session = Login(self.broker.url, None, None, None, "3.1.1", 0).open(self.topic, clean=False)
            session.subscribe(self.config["topics"], 1)
        except Retryable:
            return False
        finally:
            if session is not None:
                session.close()
        return True

    def fill(self, count: int) -> None:
        """Publish the next `count` messages with QoS 1."""
        sent = [
            self.put(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n, n))
            for n in range(self._filled, self._filled + count)
        ]
        for one in sent:
            one.wait_for_publish(30)
        self._filled += count

    def put(self, payload: bytes, word: str = "one") -> MQTTMessageInfo:
        """Publish one message."""
        return self._client.publish(f"{self.topic}/{word}", payload, qos=1)

    def keep(self, payload: bytes) -> None:
        """Publish a retained message."""
        self._client.publish(f"{self.topic}/kept", payload, qos=1, retain=True).wait_for_publish(30)

    def number(self, data: bytes) -> int:
        """The message's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """End publisher and broker."""
        self._client.disconnect()
        self._client.loop_stop()
        if not self._shared:
            self.broker.stop()


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> MqttCase:
    """A broker of its own."""
    return MqttCase(Broker("nats", folder / unique("broker")), unique("plant"))
