"""The archive on an S3-compatible server: the platform's own by the environment, and a registered one by references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

import pytest

from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.kafka.log_client import KafkaLog
from clearwell.reconciliation.archive import check_archive
from clearwell.registry import Registry, destinations
from tests.support.archives import opened, rows_in
from tests.support.outage import Way, way_to
from tests.support.platform import Platform, Service, numbered, until
from tests.support.s3_server import SECRET, S3Server

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def way(s3: S3Server) -> Iterator[Way]:
    """To the server."""
    with way_to(urlsplit(s3.endpoint).port or 0) as one:
        yield one


def archived(platform: Platform, to: str) -> str:
    """Have the contract archive the stream; the archive's place below a lake."""
    text = platform.contract_file.read_text()
    platform.contract_file.write_text(text.replace("routes:\n", f"routes:\n  - {{to: {to}}}\n"))
    return f"archive/{platform.stream}"


def start(platform: Platform, to: str, **env: str) -> Service:
    """An archiver which commits soon."""
    return platform.start("archiver", "--to", to, CLEARWELL_LAKE_COMMIT_SECONDS="0.1", CLEARWELL_WORKER="w", **env)


def check(platform: Platform, to: str, root: Root, sent: list[bytes]) -> None:
    """Each event is there once, opens, and is what was sent."""
    rows = rows_in(f"{root.place.url}/archive/{platform.stream}", root.place.options)
    found = opened(platform.keyring, platform.stream, rows)
    assert sorted(one.value or b"" for one in found.values()) == sorted(sent)
    checked = check_archive(KafkaLog(platform.settings.kafka), root, platform.stream, to)
    assert all(one.balanced and one.waiting == 0 for one in checked)
    assert sum(one.archived for one in checked) == len(sent)


def count(root: Root, place: str) -> int:
    return len(rows_in(f"{root.place.url}/{place}", root.place.options))


def test_the_platforms_own(platform: Platform, s3: S3Server, way: Way) -> None:
    """The store is away at the start and once more in the middle; the archiver waits, is killed, and goes on."""
    place, url = archived(platform, "archive"), s3.url(platform.stream)
    root = Root(TableLocation(url, s3.options))
    env = {name.upper(): value for name, value in s3.options.items()} | {"CLEARWELL_LAKE": url}
    env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{way.port}"
    way.shut()
    sent = list(numbered(COUNT))
    platform.put(sent)
    service = start(platform, "archive", **env)
    away = "does not answer as it should where Clearwell was to"
    until(lambda: f"{away} make or read it. Trying again" in service.text(), 120)
    way.open()
    until(lambda: count(root, place) == COUNT, 120, every=0.5)
    way.shut()
    more = list(numbered(COUNT, start=COUNT))
    platform.put(more)
    until(lambda: f"{away} archive offsets" in service.text(), 120)
    service.kill()
    way.open()
    service = start(platform, "archive", **env)
    until(lambda: count(root, place) == 2 * COUNT, 120, every=0.5)
    check(platform, "archive", root, sent + more)
    assert "Traceback" not in service.text() and SECRET not in service.text()
    assert service.stop() == 0


@pytest.fixture
def far(registry: Registry, s3: S3Server, unique: Callable[[str], str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A registered lake whose secret is a reference: its `to` for archives, and the environment that has the secret."""
    name = unique("far")
    config = {
        "url": s3.url(name),
        "storage_options": {key: value for key, value in s3.options.items() if value != SECRET},
        "storage_secrets": {"aws_secret_access_key": "${env:FAR_SECRET}"},
    }
    with registry.session() as session:
        destinations.add(session, "lake", name, config)
    yield f"archive.{name}", {"FAR_SECRET": SECRET}
    with registry.session() as session:
        destinations.remove(session, "lake", name)


def test_a_registered_one(platform: Platform, s3: S3Server, far: tuple[str, Mapping[str, str]]) -> None:
    to, env = far
    place, root = archived(platform, to), Root(TableLocation(s3.url(to.partition(".")[2]), s3.options))
    service = start(platform, to)
    assert service.ended() == 2
    assert "FAR_SECRET" in service.text() and "Traceback" not in service.text()
    platform.services.remove(service)
    sent = list(numbered(COUNT))
    platform.put(sent)
    service = start(platform, to, **env)
    until(lambda: count(root, place) == COUNT, 120, every=0.5)
    check(platform, to, root, sent)
    assert SECRET not in service.text()
    assert service.stop() == 0
