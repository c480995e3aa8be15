"""Secrets in the clear are refused wherever a person may put them, by name and by look; what is plain is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.contract.route_options import DESTINATIONS
from clearwell.control.connector_spec import make_spec
from clearwell.control.destination_spec import make_spec as make_destination
from clearwell.errors import ConfigError
from clearwell.plugins import kinds
from clearwell.plugins.annotations import require_references
from clearwell.plugins.options import describe_destination, describe_source
from clearwell.plugins.secret_texts import is_secret_name, looks_secret
from clearwell.plugins.spec import decode

CANARY = "Qz7Lw2Xk9Rt4Vb8Nm3Hc6Jd1"

NAMES = [
    "Cookie",
    "Set-Cookie",
    "Authorization",
    "Proxy-Authorization",
    "X-Vault-Token",
    "X-Api-Key",
    "x-amz-security-token",
    "sig",
    "signature",
    "X-Amz-Signature",
    "account_key",
    "accountKey",
    "AccountKey",
    "sas_token",
    "connection_string",
    "aws_secret_access_key",
    "secretKey",
    "client_secret",
    "private_key_data",
    "passphrase",
    "pwd",
    "pin",
    "token",
    "refresh_token",
    "bearer",
    "jwt",
    "credential",
    "session_id",
    "webhook_url",
    "api-key",
    "AZURE_STORAGE_SAS_TOKEN",
    "storage_key",
    "dsn",
    "authMechanismProperties",
    "tlsCertificateKeyFilePassword",
    "auth",
]

PLAIN = [
    "key",
    "sort_key",
    "key_field",
    "token_url",
    "page_token_field",
    "key_id",
    "cursor",
    "region",
    "endpoint_url",
    "id",
    "page_size",
    "Accept",
    "authSource",
    "authMechanism",
    "auth_plugin",
    "default_auth",
    "require_auth",
    "signature_version",
    "token_audience",
]

LOOKS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-2334567890-abcdefghijkl",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN PRIVATE KEY-----",
    "Bearer abcdefghijkl",
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=abc==",
    "d41d8cd98f00b204e9800998ecf8427e",
    "https://hooks.example.com/services/T02/B03/" + CANARY,
    CANARY,
]

INNOCENT = [
    "CustomerOrderHistory2024", "flights_2013_events_v1_final", "550e8400-e29b-41d4-a716-446655440000",
    "SELECT id, customer_id FROM orders WHERE updated_at > 2013", "data.items.pagination.nextPageToken",
    "/data/2013/events-2013-01-01.ndjson", "https://api.example.com/v2/Accounts/AC12/Messages.json?page=2",
    "application/vnd.api+json", "%Y-%m-%dT%H:%M:%S.%fZ", "[^@\\s]+@[^@\\s]+\\.[^@\\s]+",
    "broker-1.kafka.example.com:9092",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_secrets_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name(name: str) -> None:
    assert not is_secret_name(name)


DRIVERS = [
    (
        "mongo_changes",
        {"url": "mongodb://me:${env:CLEARWELL_SECRET_DB}@h/db?authSource=admin&authMechanism=SCRAM-SHA-256"},
    ),
    ("sql", {"url": "postgresql://me:${env:CLEARWELL_SECRET_DB}@h/db?require_auth=scram-sha-256", "table": "t"}),
    ("file", {"path": "s3://b/f", "storage_options": {"config_kwargs": {"signature_version": "s3v4"}}}),
]


@pytest.mark.parametrize(("source", "config"), DRIVERS)
def test_what_drivers_are_told_beside_the_password_is_no_secret(source: str, config: dict[str, Any]) -> None:
    require_references(kinds.source_class(source).Config, config, "spec.yaml")


@pytest.mark.parametrize("text", LOOKS)
def test_a_secrets_look(text: str) -> None:
    assert looks_secret(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_an_innocent_look(text: str) -> None:
    assert not looks_secret(text)


KINDS = [
    *(("source", name) for name in kinds.kinds(kinds.SOURCES)),
    *(("destination", name) for name in kinds.kinds(DESTINATIONS)),
]


@pytest.mark.parametrize(("what", "name"), KINDS, ids=[f"{what} {name}" for what, name in KINDS])
def test_no_option_of_any_kind_takes_a_secret_in_the_clear(what: str, name: str) -> None:
    """As the whole text, in a list, in a map, in a URL's query and path; the error quotes none of it."""
    found = describe_source(name) if what == "source" else describe_destination(name)
    shape = (kinds.source_class if what == "source" else kinds.destination_class)(name).Config
    marked = {field.encode_name: str(field.type) for field in msgspec.structs.fields(shape)}
    tried = 0
    for option in found.options:
        if "." in option.name or "[" in option.name or "'path'" in marked[option.name]:
            continue
        url = f"https://host/x?sig={CANARY}"
        for value in (CANARY, [CANARY], {"Cookie": CANARY}, {"any": CANARY}, url, [url], {"any": {"deep": [CANARY]}}):
            tried += 1
            if "text" not in option.type and isinstance(value, str):
                continue  # a number or a word of a list: decoding refuses it
            with pytest.raises(ConfigError) as told:
                require_references(shape, {option.name: value}, "spec.yaml")
            assert CANARY not in str(told.value), option.name
    assert tried or not found.options


def test_what_is_plain_is_said_so(tmp_path: Path) -> None:
    config: dict[str, Any] = {"url": "https://api.example.com/items", "params": {"token": CANARY}, "id_field": "id"}
    spec: dict[str, Any] = {"name": "items", "source": "http_poll", "stream": "items", "config": config}
    with pytest.raises(ConfigError, match=r"config\.params\.token looks like a secret.*`plain: \[token\]`") as told:
        make_spec(spec, "spec.yaml", tmp_path)
    assert CANARY not in str(told.value)
    assert make_spec(spec | {"plain": ["token"]}, "spec.yaml", tmp_path).config["params"] == {"token": CANARY}


def test_a_number_may_be_a_secret(tmp_path: Path) -> None:
    config = {"url": "https://api.example.com/items", "params": {"pin": 123456}, "id_field": "id"}
    with pytest.raises(ConfigError, match=r"config\.params\.pin looks like a secret") as told:
        make_spec({"name": "items", "source": "http_poll", "stream": "items", "config": config}, "s", tmp_path)
    assert "123456" not in str(told.value)


def test_a_destination_says_plain_beside_its_options(tmp_path: Path) -> None:
    written = {"url": "s3://bucket/folder", "storage_options": {"account_key": "plainly"}}
    with pytest.raises(ConfigError, match="account_key looks like a secret"):
        make_destination("files.out", written, "the options", tmp_path)
    made = make_destination("files.out", written | {"plain": ["account_key"]}, "the options", tmp_path)
    assert made.config == written


def test_the_value_of_a_reference_is_never_quoted() -> None:
    shape = kinds.source_class("kafka").Config
    with pytest.raises(ConfigError) as told:
        decode({"bootstrap": "h:1", "topic": "t", "security": CANARY}, shape, "config", referred=True)
    assert CANARY not in str(told.value) and "security" in str(told.value)
