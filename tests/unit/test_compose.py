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
    assert {"kafka", "postgres", "mongo", "prepare", "collector", "worker"} <= set(found.service_names())


def test_a_misspelled_key_is_noticed() -> None:
    text = (ROOT / "docker-compose.yml").read_text().replace("image: mongo:8", "imag: mongo:8")
    with pytest.raises(ValueError, match="imag"):
        compose(text).validate()


def test_no_file_names_a_stream() -> None:
    """A new stream needs no edit: workers take the jobs of whatever is published."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert not [path.parent.name for path in (ROOT / "schemas").glob("*/v*.yaml") if path.parent.name in text]


def test_ports_are_published_on_loopback_only() -> None:
    published = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    ports = [port for service in published for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
