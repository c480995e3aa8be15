"""What a broker sends again within a connection is one message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from connectors.mqtt.session import Session


def publish(session: Session, mid: int, payload: bytes, qos: int = 1) -> None:
    """As paho does for a PUBLISH."""
    message: Any = SimpleNamespace(topic="plant/a", payload=payload, mid=mid, qos=qos, retain=False)
    session._on_message(session._client, None, message)


def taken(session: Session) -> list[bytes]:
    """What is there."""
    return [message.payload for message in session.take(100, 0.0)]


def test_a_message_that_is_not_acknowledged_and_comes_again_is_taken_once() -> None:
    """A broker gives a number to another message only once it was acknowledged (MQTT 3.1.1, 2.3.1)."""
    client: Any = SimpleNamespace(ack=lambda mid, qos: None)
    session = Session(client, "broker:1883")
    publish(session, 1, b"first")
    publish(session, 1, b"first")
    publish(session, 2, b"second")
    first, second = session.take(100, 0.0)
    assert (first.payload, second.payload) == (b"first", b"second")
    session.acknowledge(first)
    publish(session, 1, b"third")
    publish(session, 2, b"second")
    assert taken(session) == [b"third"]


def test_messages_without_acknowledgement_have_no_number() -> None:
    client: Any = SimpleNamespace()
    session = Session(client, "broker:1883")
    publish(session, 0, b"a", qos=0)
    publish(session, 0, b"b", qos=0)
    assert taken(session) == [b"a", b"b"]
