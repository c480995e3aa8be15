"""Signatures, batches and ids of the source webhook."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import msgspec
import pytest

from clearwell.source import EVENT_LIMIT, Refusal, Request, RequestRefused
from connectors.webhook.source import WebhookConfig, WebhookSource
from tests.support.sources.webhook import OLD_SECRET, SECRET, changed, signed


def source(**config: Any) -> WebhookSource:
    config = {"signature": {"type": "standard", "secrets": [SECRET]}} | config
    return WebhookSource(msgspec.convert(config, WebhookConfig))


def status(one: WebhookSource, request: Request) -> int:
    with pytest.raises(RequestRefused) as refused:
        one.receive(request)
    return refused.value.status


def test_the_example_of_the_specification() -> None:
    """Secret, id and body as in the reference libraries' own tests, signed at any time."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    one = source(signature={"type": "standard", "secrets": [secret]})
    stamp = int(time.time())
    request = signed(body, secret, stamp, "msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert one.receive(request)[0].data == body
    old = changed(
        request,
        webhook_timestamp="1614265330",
        webhook_signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    assert status(one, old) == 401


def test_secrets_can_be_changed_without_a_gap() -> None:
    """While both are set, either may sign; once the old one is gone, it may not."""
    both = source(signature={"type": "standard", "secrets": [SECRET, OLD_SECRET]})
    assert both.receive(signed(b"{}", SECRET)) and both.receive(signed(b"{}", OLD_SECRET))
    assert status(source(), signed(b"{}", OLD_SECRET)) == 401


def test_a_sender_that_signs_with_both_secrets() -> None:
    old, new = signed(b"{}", OLD_SECRET, delivery="m"), signed(b"{}", SECRET, delivery="m")
    both = f"{old.headers['webhook-signature']} v1a,abc {new.headers['webhook-signature']}"
    assert source().receive(changed(new, webhook_signature=both))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (body, 400)
        for body in (
            b"",
            b"nul",
            b"[1,",
            b"{}{}",
            b"[{} {}]",
            b"[{},oops]",
            b'[{"n":NaN}]',
            b"[{},]",
            b'["' + b'\\"' * 99,
        )
    ],
)
def test_what_is_no_json(body: bytes, expected: int) -> None:
    assert status(source(), signed(body)) == expected


def test_one_event_is_its_delivery() -> None:
    (event,) = source().receive(signed(b' {"n": 1.50} ', delivery="msg_1"))
    assert (event.id, event.data) == ("msg_1", b'{"n": 1.50}')


def test_a_list_and_lines_are_numbered() -> None:
    events = source().receive(signed(b'[{"n": 1.0}, {"n":12345678901234567890}]', delivery="msg_1"))
    assert [(one.id, one.data) for one in events] == [
        ("msg_1/0", b'{"n": 1.0}'),
        ("msg_1/1", b'{"n":12345678901234567890}'),
    ]
    lines = changed(signed(b'{"n":1}\r\nbroken\n\n{"n":2}', delivery="m"), content_type="application/x-ndjson; a=b")
    assert [(one.id, one.data) for one in source().receive(lines)] == [
        ("m/0", b'{"n":1}'),
        ("m/1", b"broken"),
        ("m/2", b'{"n":2}'),
    ]
    assert source().receive(signed(b"[]")) == []


def test_one_bad_event_of_a_list_does_not_stop_the_others() -> None:
    events = source().receive(signed(b'[{"n":1},{"t":"\\ud800"},' + b"[" * 5_000 + b"]" * 5_000 + b',{"n":2}]'))
    assert [len(one.data) for one in events] == [7, 14, 10_000, 7]


def test_ids_out_of_a_field() -> None:
    events = source(id_field="key").receive(signed(b'[{"key":"a"},{"key":7},{"key":null}]', delivery="m"))
    assert [one.id for one in events] == ["a", "7", "m/2"]


def test_a_large_event_becomes_a_note() -> None:
    events = source().receive(signed(b'[{"n":1},"' + b"x" * EVENT_LIMIT + b'"]'))
    assert [one.refused for one in events] == [None, Refusal.TOO_LARGE]


def test_too_many_events() -> None:
    assert status(source(most_events=2), signed(b"[1,2,3]")) == 413


def github(body: bytes, secret: bytes = b"a secret of github's", **headers: str) -> Request:
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return Request("POST", {"x-hub-signature-256": signature, "x-github-delivery": "d-1", **headers}, {}, body)


def test_signed_as_github_does() -> None:
    one = source(
        signature={
            "type": "hmac",
            "secrets": ["another old secret", "a secret of github's"],
            "id_header": "X-GitHub-Delivery",
        }
    )
    (event,) = one.receive(github(b'{"action":"opened"}'))
    (replayed,) = one.receive(changed(github(b'{"action":"opened"}'), x_github_delivery="d-2"))
    assert replayed == event, "The delivery's id is not signed: a replay may bear another."
    assert one.receive(github(b'{"action":"closed"}'))[0].id != event.id
    first, second = one.receive(github(b"[{},{}]"))
    assert first.id != second.id
    assert status(one, github(b"{}", b"a secret of mine....")) == 401
    assert status(one, changed(github(b"{}"), b"[]")) == 401
    assert status(one, changed(github(b"{}"), x_hub_signature_256=None)) == 401


KINDS = (
    "application/json",
    "application/x-ndjson",
    "application/jsonl; charset=utf-8",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents+avro",
    "text/plain",
    "",
)
ENVELOPE = b'{"specversion":"1.0","id":"7","source":"/s","type":"t","key":"e","data":{"key":"d"}}'
BODIES = (
    b'{"key":"a"}',
    b'{\n  "key": "a"\n}',
    b'[{"key":"a"},{"key":"b"}]',
    b'[\n{"key":"a"},\n{"key":"b"}\n]',
    b'[[{"key":"a"}]]',
    b'{"key":"a"}\n{"key":"b"}',
    b'\n{"key":"a"}\n\nbroken\n[1]\n',
    b'{"t":"\\ud800"}\n{"key":"b"}',
    b'{"t":"\\ud800"}',
    b"[" * 5_000 + b"]" * 5_000,
    b"[" * 5_000 + b"]" * 5_000 + b'\n{"key":"b"}',
    b'{"key":' + b"[" * 5_000 + b"]" * 5_000 + b'}\n{"key":"b"}',
    b'[{"key":"a"},' + b"[" * 5_000 + b"]" * 5_000 + b"]",
    ENVELOPE,
    b"[" + ENVELOPE + b"]",
    ENVELOPE + b"\n" + ENVELOPE,
    b"broken",
    b"",
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:30])
@pytest.mark.parametrize("id_field", [None, "key"])
@pytest.mark.parametrize("way", ["standard", "hmac", "hmac with ids", "none"])
def test_no_content_type_makes_other_events_of_a_signed_body(body: bytes, id_field: str | None, way: str) -> None:
    """No signature covers it: whoever has overheard a request may send it again with another."""
    signatures: dict[str, Any] = {
        "standard": {"type": "standard", "secrets": [SECRET]},
        "hmac": {"type": "hmac", "secrets": ["a secret of github's"]},
        "hmac with ids": {"type": "hmac", "secrets": ["a secret of github's"], "id_header": "X-GitHub-Delivery"},
        "none": "none",
    }
    webhook = source(signature=signatures[way], id_field=id_field)
    request = github(body) if way.startswith("hmac") else signed(body, SECRET, delivery="m")
    accepted = []
    for kind in KINDS:
        try:
            accepted.append(webhook.receive(changed(request, content_type=kind)))
        except RequestRefused as refused:
            assert refused.status == 400
    assert all(events == accepted[0] for events in accepted)
    assert accepted


def test_a_cloud_event_is_its_envelope_to_those_who_say_so() -> None:
    assert [event.data for event in source().receive(signed(ENVELOPE))] == [b'{"key":"d"}']
    assert [event.data for event in source(format="json").receive(signed(ENVELOPE))] == [ENVELOPE]


def test_equal_data_of_two_cloud_events_is_two_events() -> None:
    webhook = source(signature="none")
    ids = [webhook.receive(Request("POST", {}, {}, ENVELOPE.replace(b'"7"', b'"%d"' % n)))[0].id for n in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]


def test_signed_in_base64() -> None:
    one = source(
        signature={
            "type": "hmac",
            "secrets": ["sixteen bytes at least"],
            "header": "X-Shop-Hmac",
            "prefix": "",
            "encoding": "base64",
        }
    )
    assert one.receive(Request("POST", {"x-shop-hmac": "vHAAEKVSLRposdI+abMPjD5M7bXEfU8/fon9TjtN4LU="}, {}, b"{}"))


def test_unsigned_only_when_told_so() -> None:
    """Without ids of the sender, what is sent again has the same id."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, WebhookConfig)
    one = source(signature="none")
    first, again = (one.receive(Request("POST", {}, {}, b'{"n":1}'))[0].id for _ in range(2))
    assert first == again != one.receive(Request("POST", {}, {}, b'{"n":2}'))[0].id
