"""Secrets and paths in a connector's specification, wherever the source's configuration nests them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from clearwell.errors import ConfigError
from clearwell.plugins.annotations import absolute_paths, require_references
from clearwell.source import PATH, SECRET, SECRET_IN_URL, SourceConfig


class Basic(msgspec.Struct, frozen=True, tag="basic", tag_field="kind"):
    user: str
    password: Annotated[str, SECRET]
    token: str = ""


class Header(msgspec.Struct, frozen=True, tag="header", tag_field="kind"):
    password: str
    values: dict[str, Annotated[str, SECRET]] = {}


class Config(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, SECRET_IN_URL] = ""
    plain: str = ""
    auth: Basic | Header | None = None
    more: list[Basic] = []
    secrets: Annotated[list[str], SECRET] | None = None
    pin: Annotated[int, SECRET] | None = None
    free: dict[str, Any] = {}
    headers: dict[str, str] = {}
    certificate: Annotated[str, PATH] | None = None
    by_name: dict[str, Annotated[str, PATH]] = {}


@pytest.mark.parametrize(
    "config",
    [
        {"auth": {"kind": "basic", "user": "u", "password": "${env:P}"}},
        {"auth": {"kind": "basic", "user": "u", "password": "${env:P}", "token": "public"}},
        {"auth": {"kind": "header", "password": "not marked in this one"}},
        {"auth": {"kind": "header", "password": "", "values": {"X-Key": "${file:/run/x}"}}},
        {"more": [{"user": "u", "password": "${env:P}"}]},
        {"secrets": ["${env:A}", "${env:B}"]},
        {"secrets": None, "pin": None},
        {"pin": "${env:PIN}"},
        {"url": "postgresql://u:${env:P}@host/db"},
        {"url": "postgresql://u:${file:/run/secrets/p:w@x}@host:5432/db?sslmode=require"},
        {"url": "${env:URL}"},
        {"url": "postgresql://u@host/db"},
        {"url": "mongodb://u:${env:P}@a:1,b:2/db?password=${env:P}"},
        {"url": "https://host:8080/users/@me?page=1"},
        {"url": "sqlite:////a/b:c"},
        {"free": {"start": "2020-01-01", "api_key": "${env:K}", "deep": [{"token": "x${env:K}"}]}},
        {"headers": {"Authorization": "Bearer ${env:T}", "Accept": "application/json"}},
        {"plain": "a:b@c"},
    ],
    ids=str,
)
def test_references_are_taken(config: dict[str, Any]) -> None:
    require_references(Config, config, "spec.yaml")


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"auth": {"kind": "basic", "user": "u", "password": "canary"}}, "config.auth.password"),
        ({"auth": {"kind": "basic", "user": "u", "password": "canary${env:P}"}}, "config.auth.password"),
        ({"auth": {"kind": "header", "password": "", "values": {"X-Key": "canary"}}}, "config.auth.values.X-Key"),
        ({"more": [{"user": "u", "password": "${env:P}"}, {"password": "canary"}]}, "config.more[1].password"),
        ({"secrets": ["${env:A}", "canary"]}, "config.secrets[1]"),
        ({"pin": 1234}, "config.pin"),
        ({"url": "postgresql://u:canary@host/db"}, "config.url"),
        ({"url": "postgresql://u:canary${env:P}@host/db"}, "config.url"),
        ({"url": "postgresql://u:can/ary@host/db"}, "config.url"),
        ({"url": "postgresql://u:can@ary@host/db"}, "config.url"),
        ({"url": "https://u:canary@host/"}, "config.url"),
        ({"url": "https://host/?page=1&Api-Key=canary"}, "config.url"),
        ({"url": "postgresql://host/db?sslpassword=canary"}, "config.url"),
        ({"url": "canary"}, "config.url"),
        ({"plain": "amqp://u:canary@host"}, "config.plain"),
        ({"free": {"deep": [{"api_key": "canary"}]}}, "config.free.deep[0].api_key"),
        ({"headers": {"Authorization": "Bearer canary"}}, "config.headers.Authorization"),
    ],
    ids=str,
)
def test_a_secret_in_the_clear_is_refused_by_its_place(config: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match="reference") as refused:
        require_references(Config, config, "spec.yaml")
    said = str(refused.value)
    assert said.startswith(f"spec.yaml: {place} ") and "canary" not in said and "1234" not in said


def test_paths_are_meant_from_the_folder_of_the_specification(tmp_path: Path) -> None:
    config = {
        "certificate": "ca.pem",
        "by_name": {"a": "/b", "c": "../d", "e": "${env:F}/g", "s": "s3://bucket/x"},
        "plain": "x",
    }
    assert absolute_paths(Config, config, Path("/specs")) == {
        "certificate": "/specs/ca.pem",
        "by_name": {"a": "/b", "c": "/specs/../d", "e": "${env:F}/g", "s": "s3://bucket/x"},
        "plain": "x",
    }
