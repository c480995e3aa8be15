"""docker-compose.yml, read by a Compose parser that needs no engine (the Rust crate compose_spec)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).parents[2]


def compose(text: str) -> PyCompose:
    # PyYAML resolves the merge keys (`<<`), which the crate takes for unknown keys.
    return PyCompose.from_json(json.dumps(yaml.safe_load(text)))


def test_the_compose_file_is_valid() -> None:
    found = compose((ROOT / "docker-compose.yml").read_text())
    found.validate()
    assert {"kafka", "postgres", "mongo", "prepare", "collector", "cleaner-flights"} <= set(found.service_names())


def test_a_misspelled_key_is_noticed() -> None:
    text = (ROOT / "docker-compose.yml").read_text().replace("image: mongo:8", "imag: mongo:8")
    with pytest.raises(ValueError, match="imag"):
        compose(text).validate()


def test_every_route_of_every_contract_has_a_deliverer() -> None:
    services = set(compose((ROOT / "docker-compose.yml").read_text()).service_names())
    for path in (ROOT / "schemas").glob("*/v*.yaml"):
        contract = yaml.safe_load(path.read_text())
        assert f"cleaner-{contract['stream']}" in services
        for route in contract["routes"]:
            service = "archiver" if route["to"] == "archive" else f"deliverer-{contract['stream']}"
            name = f"{service}-{contract['stream']}" if service == "archiver" else f"{service}-{route['to']}"
            assert name in services


def test_ports_are_published_on_loopback_only() -> None:
    published = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    ports = [port for service in published for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
