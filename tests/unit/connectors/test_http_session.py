"""Where the HTTP sources connect to, whom they trust, and who learns what we are known by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clearwell.errors import ConfigError, Retryable
from tests.support.polling import json_text, read, scripted, source, texts
from tests.support.sources.http_poll import json_answer
from tests.support.web_server import WebServer, self_signed, servers

Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer by a function."""
    with servers() as start:
        yield start


def test_redirects_lose_the_credentials_elsewhere(serve: Serve) -> None:
    arrived, requests = scripted(json_answer([1]))
    other = serve(arrived).url
    answer, first = scripted(web.Response(status=302, headers={"Location": other}))
    auth = {"type": "header", "name": "X-Key", "value": "hidden"}
    assert texts(read(source(serve(answer).url, auth=auth, headers={"X-More": "also"}))) == [b"1"]
    assert first[0].headers["X-Key"] == "hidden"
    assert not {"X-Key", "X-More"} & set(requests[0].headers)


def test_redirects_for_ever(serve: Serve) -> None:
    answer, requests = scripted(web.Response(status=302, headers={"Location": "/again"}))
    with pytest.raises(ConfigError, match="redirects again and again"):
        source(serve(answer).url).check()
    assert len(requests) < 10


def test_forbidden_addresses(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bare, by name, and where a redirect leads; the server behind never hears of it."""
    arrived, requests = scripted(json_answer([1]))
    port = serve(arrived).port
    for url in (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"http://[::ffff:127.0.0.1]:{port}"):
        monkeypatch.setenv("CLEARWELL_EGRESS_ALLOW", "10.0.0.0/8,api.example.com")
        with pytest.raises(ConfigError, match="an address that may not be reached"):
            source(url).check()
    monkeypatch.setenv("CLEARWELL_EGRESS_ALLOW", "localhost")
    assert texts(read(source(f"http://localhost:{port}"))) == [b"1"]
    for place in (f"http://127.0.0.1:{port}", "http://169.254.169.254/latest"):
        answer, _ = scripted(web.Response(status=307, headers={"Location": place}))
        with pytest.raises(ConfigError, match="an address that may not be reached"):
            source(f"http://localhost:{serve(answer).port}").check()
    assert len(requests) == 1


def test_the_clouds_own_address_is_never_asked() -> None:
    with pytest.raises(ConfigError, match="an address that may not be reached"):
        source("http://169.254.169.254/latest/meta-data").check()


def test_tls(serve: Serve, tmp_path: Path) -> None:
    """Only who proves to be whom we asked for, by authorities we trust."""
    tls, ca = self_signed(tmp_path)
    answer, _ = scripted(json_answer([1]))
    server = serve(answer, tls=tls)
    with pytest.raises(ConfigError, match="could not prove who it is"):
        source(server.url).check()
    assert texts(read(source(server.url, ca=str(ca)))) == [b"1"]
    with pytest.raises(ConfigError, match="could not prove who it is"):
        source(f"https://localhost:{server.port}", ca=str(ca)).check()


def test_tls_is_not_given_up(serve: Serve, tmp_path: Path) -> None:
    plain, requests = scripted(json_answer([1]))
    answer, _ = scripted(web.Response(status=302, headers={"Location": serve(plain).url}))
    tls, ca = self_signed(tmp_path)
    with pytest.raises(ConfigError, match="redirects from TLS to a plain connection"):
        source(serve(answer, tls=tls).url, ca=str(ca)).check()
    assert not requests


class TokenServer:
    """Gives tokens t1, t2 …; the API beside it takes those in `good`."""

    def __init__(self) -> None:
        self.given = 0
        self.good: set[str] = set()
        self.forms: list[dict[str, Any]] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            self.forms.append({**await request.post(), "auth": request.headers.get("Authorization")})
            self.given += 1
            self.good = {f"t{self.given}"}
            return json_answer({"access_token": f"t{self.given}", "expires_in": 3600})
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good:
            return web.Response(status=401)
        page = int(request.query["page"])
        if page == 2:
            self.good.clear()  # as when a token is revoked
        return json_answer([page] if page < 4 else [])


def test_a_token_is_kept_and_renewed_once(serve: Serve) -> None:
    tokens = TokenServer()
    url = serve(tokens.answer).url
    auth = {
        "type": "oauth2_client_credentials",
        "token_url": f"{url}/token",
        "client_id": "me",
        "client_secret": "hidden",
        "scope": "read",
    }
    assert texts(read(source(url, auth=auth, paging={"type": "page"}))) == [b"1", b"2", b"3"]
    assert tokens.given == 2
    assert tokens.forms[0] == {"grant_type": "client_credentials", "scope": "read", "auth": "Basic bWU6aGlkZGVu"}


@pytest.mark.parametrize(
    ("status", "text", "kind", "said"),
    [
        (401, "{}", ConfigError, "refused us"),
        (503, "{}", Retryable, "gives no token now"),
        (200, "<html>", ConfigError, "without a token"),
        (200, '{"access_token": 5}', ConfigError, "without a token"),
    ],
)
def test_token_servers_that_give_none(serve: Serve, status: int, text: str, kind: type[Exception], said: str) -> None:
    answer, _ = scripted(json_text(text, status=status))
    auth = {
        "type": "oauth2_client_credentials",
        "token_url": f"{serve(answer).url}/token",
        "client_id": "me",
        "client_secret": "hidden",
        "in_body": True,
    }
    with pytest.raises(kind, match=said) as told:
        source("http://127.0.0.1:9", auth=auth).check()
    assert "hidden" not in str(told.value)


def test_a_secret_with_a_line_break() -> None:
    with pytest.raises(ConfigError, match="has a line break slipped in") as told:
        source("http://127.0.0.1", auth={"type": "bearer", "token": "hidden\nX: y"})
    assert "hidden" not in str(told.value)
