"""Each kind of destination and source asks before it connects, and connects to what it asked about."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import Destination, DestinationContext
from clearwell.egress import VARIABLE, connect
from clearwell.egress_stores import require_allowed_store
from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.clients import JudgedSocket
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.spec import decode, open_source
from clearwell.postgres_connection import BoundedConnection, NoAnswer, pinned
from clearwell.secret_references import resolve
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE
from tests.support.mute_postgres import mute_postgres

BAD = ["10.1.2.3", "169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"]

DESTINATIONS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "postgres": lambda host: ("postgres", {"url": f"postgresql://u:${{env:PW}}@{host}:5432/db"}),
    "postgres by its query": lambda host: ("postgres", {"url": f"postgresql:///db?host={host.strip('[]')}"}),
    "mongo": lambda host: ("mongo", {"url": f"mongodb://u:${{env:PW}}@{host}:27017/db"}),
    "sql on postgres": lambda host: ("sql", {"url": f"postgresql://u:${{env:PW}}@{host}/db"}),
    "sql by its query": lambda host: ("sql", {"url": f"postgresql:///db?host={host.strip('[]')}"}),
    "sql on mysql": lambda host: ("sql", {"url": f"mysql://u:${{env:PW}}@{host}/db"}),
    "http": lambda host: ("http", {"url": f"HTTP://{host}/hook".replace("HTTP", "http"), "secrets": ["${env:WH}"]}),
    "kafka": lambda host: ("kafka", {"bootstrap": f"{host}:9092"}),
    "opensearch": lambda host: ("opensearch", {"url": f"http://{host}:9200"}),
    "cassandra": lambda host: ("cassandra", {"hosts": host.strip("[]"), "keyspace": "k"}),
    "lake": lambda host: ("lake", {"url": "s3://b/p", "storage_options": {"AWS_Endpoint_URL": f"HTTP://{host}:9000"}}),
    "lake by a proxy": lambda host: ("lake", {"url": "s3://b/p", "storage_options": {"proxy_url": f"http://{host}"}}),
    "files": lambda host: ("files", {"url": "s3://b/p", "storage_options": {"endpoint_url": f"HTTP://{host}:9000"}}),
}

SOURCES: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "sql": lambda host: ("sql", {"url": f"postgresql://u:${{env:PW}}@{host}/db", "table": "t", "cursor": "c"}),
    "sql by its query": lambda host: (
        "sql",
        {"url": f"postgresql:///db?host={host.strip('[]')}", "table": "t", "cursor": "c"},
    ),
    "postgres_cdc": lambda host: (
        "postgres_cdc",
        {"url": f"postgresql://u:${{env:PW}}@{host}/db", "tables": ["t"], "slot": "s", "publication": "p"},
    ),
    "mongo_changes": lambda host: ("mongo_changes", {"url": f"mongodb://{host}/db"}),
    "mqtt": lambda host: ("mqtt", {"url": f"mqtt://{host}", "topics": ["a"], "client_id": "x"}),
    "kafka": lambda host: ("kafka", {"bootstrap": f"{host}:9092", "topic": "t"}),
    "http_poll": lambda host: ("http_poll", {"url": f"http://{host}/x"}),
    "sse": lambda host: ("sse", {"url": f"http://{host}/x"}),
    "websocket": lambda host: ("websocket", {"url": f"ws://{host}/x"}),
    "file": lambda host: ("file", {"path": f"HTTP://{host}/x.csv", "format": "csv"}),
    "file in a bucket": lambda host: (
        "file",
        {"path": "s3://b/x.csv", "format": "csv", "storage_options": {"endpoint_url": f"http://{host}"}},
    ),
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "pw")
    monkeypatch.setenv("WH", "whsec_" + "A" * 40)


@pytest.mark.parametrize("host", BAD)
@pytest.mark.parametrize("name", DESTINATIONS)
def test_a_destination_is_not_let_in_there(name: str, host: str, tmp_path: Path) -> None:
    kind, config = DESTINATIONS[name](host)
    with pytest.raises(ConfigError, match="may not be reached"):
        opened(kind, config, SIMPLE, tmp_path).open()


@pytest.mark.parametrize("host", BAD)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_not_let_in_there(name: str, host: str) -> None:
    kind, config = SOURCES[name](host)
    with pytest.raises(ConfigError, match=r"may not be reached|chains URLs"):
        source, _ = open_source(kind, config)
        try:
            source.check()
        finally:
            asyncio.run(source.close())


def opened(kind: str, config: dict[str, Any], schema: CleanSchema, home: Path) -> Destination:
    """A registered destination, references resolved, whose platform is nowhere."""
    cls = destination_class(kind)
    settings = Settings("127.0.0.1:1", "postgresql://127.0.0.1:1/x", "mongodb://127.0.0.1:1/x", home, home, home)
    resolved, _ = resolve(config, who="test")
    return cls.of(
        DestinationContext(settings, "x", decode(resolved, cls.Config, "test"), cls.Options(), schema, "group")
    )


@pytest.fixture
def rebinding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name whose owner answers this machine at first, and at the second question what must not be reached."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "rebind.example":
            return real(host, port, *args, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_a_name_is_resolved_once_and_that_is_connected_to(rebinding: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with connect("rebind.example", server.getsockname()[1], 5) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match="may not be reached"):
            connect("rebind.example", server.getsockname()[1], 5)


def test_postgres_connects_to_what_was_judged(rebinding: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWELL_CALL_SECONDS", "0.3")
    with mute_postgres() as address, pytest.raises(NoAnswer):
        BoundedConnection.open(address.replace("127.0.0.1", "rebind.example"), judged=True)
    assert rebinding == ["rebind.example"]


def test_hosts_of_postgres_are_judged_one_by_one() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1 is an address"):
        pinned({"host": "127.0.0.1,10.0.0.1", "port": "1,2"})
    with pytest.raises(ConfigError, match="may not be reached"):
        pinned({"host": "db.example.com", "hostaddr": "10.0.0.1"})
    with pytest.raises(ConfigError, match="service"):
        pinned({"service": "evil"})
    assert pinned({"host": "127.0.0.1,/run/pg", "port": "1,2"}) == {
        "host": "127.0.0.1,/run/pg", "hostaddr": "127.0.0.1,", "port": "1,2",
    }  # fmt: skip


def test_brokers_that_a_cluster_names_are_judged_too() -> None:
    judged = JudgedSocket("judged://")
    assert judged.dns_lookup("169.254.169.254", 9092) == judged.dns_lookup("10.0.0.1", 9092) == []
    assert [one[-1][0] for one in judged.dns_lookup("127.0.0.1", 9092)] == ["127.0.0.1"]


STORES = [
    {"Endpoint": "10.0.0.1:9000"}, {"AWS_ENDPOINT_URL_S3": "hTTps://10.0.0.1"}, {"proxy_url": "socks5://10.0.0.1:1"},
    {"config_kwargs": {"proxies": {"https": "10.0.0.1:3128"}}}, {"client_kwargs": {"endpoint_url": "HTTP://10.0.0.1"}},
    {"connection_string": "AccountName=a;BlobEndpoint=http://10.0.0.1/a;AccountKey=k"}, {"host": "localhost.evil"},
    {"azure_authority_host": "http://169.254.169.254"}, {"google_base_url": "http://10.0.0.1"},
    {"aws_metadata_endpoint": "http://169.254.169.254"}, {"account_host": "2130706433"}, {"host": "167772161"},
]  # fmt: skip


@pytest.mark.parametrize("options", STORES, ids=str)
def test_every_option_that_names_a_server_is_judged(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "s3.amazonaws.com")
    with pytest.raises((ConfigError, Retryable)):
        require_allowed_store("s3://bucket/path", options)


def test_other_options_are_no_servers() -> None:
    require_allowed_store("memory://x", {"aws_region": "eu-west-1", "AWS_SECRET_ACCESS_KEY": "a.b:80", "timeout": "3s"})
