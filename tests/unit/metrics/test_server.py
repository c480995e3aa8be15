"""The metrics server answers two paths, is bounded in time and size, and outlives whatever comes."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from clearwell.errors import ConfigError
from clearwell.metrics import server as server_module
from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.server import HEAD_LIMIT, THREADS, MetricsServer
from clearwell.settings import metrics_address


class Scene:
    def __init__(self) -> None:
        self.metrics = ProcessMetrics()
        self.problems: list[str] = []
        self.server = MetricsServer(self.metrics, lambda: self.problems, ("127.0.0.1", 0))
        self.endpoint = self.server.start()
        self.address = ("127.0.0.1", int(self.endpoint.rpartition(":")[2]))

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        request = urllib.request.Request(self.endpoint + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.status, response.headers["Content-Type"], response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def send(self, data: bytes) -> bytes:
        with socket.create_connection(self.address, timeout=5) as connection:
            connection.sendall(data)
            received = b""
            while more := connection.recv(65_536):
                received += more
            return received


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.server.close()


def test_metrics_are_served_as_text_and_as_openmetrics(scene: Scene) -> None:
    scene.metrics.set(table.WORKER_JOBS, 3)
    status, kind, page = scene.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "clearwell_worker_jobs 3.0" in page.splitlines()
    status, kind, page = scene.get("/metrics", Accept="application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert status == 200 and kind.startswith("application/openmetrics-text")
    assert page.endswith("# EOF\n") and "clearwell_worker_jobs 3.0" in page


def test_health_is_200_or_503_with_what_is_wrong(scene: Scene) -> None:
    assert scene.get("/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    scene.problems = ["Leases have not been renewed for 12 s."]
    status, kind, body = scene.get("/healthz")
    assert (status, kind) == (503, "application/json")
    assert json.loads(body) == {"problems": scene.problems}


def test_nothing_else_is_answered(scene: Scene) -> None:
    assert [scene.get(path)[0] for path in ("/", "/metrics/x", "/healthz.json", "/../metrics")] == [404] * 4
    assert scene.get("/metrics", "POST")[0] == scene.get("/healthz", "DELETE")[0] == 405
    assert scene.get("/metrics?x=1")[0] == 200
    assert scene.get("/metrics", "HEAD")[2] == ""


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\r\n\r\n", b"GET /metrics\r\n\r\n", b"G" * (HEAD_LIMIT + 10), b"\r\n\r\n"],
    ids=["TLS", "no version", "too long", "empty"],
)
def test_what_is_no_request_is_refused(scene: Scene, data: bytes) -> None:
    assert scene.send(data).startswith(b"HTTP/1.1 400 ")
    assert scene.get("/healthz")[0] == 200


def test_who_is_slow_is_hung_up_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are threads hold it up for no longer than one connection may take, however they dribble."""
    monkeypatch.setattr(server_module, "SECONDS", 0.3)
    slow = [socket.create_connection(scene.address, timeout=5) for _ in range(THREADS)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
    assert scene.get("/healthz")[0] == 200
    assert time.monotonic() - began < 2
    for connection in slow:
        assert connection.recv(10) == b""
        connection.close()


def test_a_check_that_raises_does_not_end_it(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> list[str]:
        raise ValueError("canary")

    scene.server._problems = fail
    for _ in range(THREADS + 1):
        assert scene.send(b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    scene.server._problems = list
    assert scene.get("/healthz")[0] == 200
    assert "ValueError" in caplog.text and "canary" not in caplog.text


def test_an_address_that_is_taken_is_told_and_no_reason_to_end(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    second = MetricsServer(ProcessMetrics(), list, scene.address)
    assert second.start() == ""
    assert f"cannot listen on 127.0.0.1:{scene.address[1]}" in caplog.text
    second.close()
    assert MetricsServer(ProcessMetrics(), list, None).start() == ""


def test_after_closing_nothing_listens(scene: Scene) -> None:
    scene.server.close()
    with pytest.raises(OSError):
        socket.create_connection(scene.address, timeout=1).close()


def test_where_it_serves_is_said_by_the_environment() -> None:
    def address(text: str) -> tuple[str, int] | None:
        return metrics_address({"CLEARWELL_METRICS": text})

    assert metrics_address({}) == address("") == ("127.0.0.1", 0)
    assert address("off") is None
    assert address("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert address("[::1]:9464") == ("::1", 9464)
    for wrong in ("9464", ":9464", "host:", "host:x", "host:70000", "http://host:1/x", "host:٣"):
        with pytest.raises(ConfigError, match="CLEARWELL_METRICS must be"):
            address(wrong)
