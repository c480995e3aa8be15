"""TLS and logins before an OpenSearch that has neither (a plugin brings them): answers as that, passes the rest on."""

from __future__ import annotations

import base64
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.web_server import WebServer, self_signed

USER, PASSWORD, READER = "writer", "canary-opensearch-password", "reader"
_KEPT = ("Content-Type", "Content-Encoding", "Accept-Encoding")


class Door:
    """`url` with a user's name and password in it; `ca` makes its certificate known. READER may write nothing."""

    def __init__(self, folder: Path, behind: str) -> None:
        context, self.ca = self_signed(folder)
        self._behind = behind
        self._server = WebServer(self._answer, tls=context)

    def url(self, user: str = USER, password: str = PASSWORD) -> str:
        """Where it listens."""
        return self._server.url.replace("://", f"://{user}:{password}@")

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        known = {_basic(user): user for user in (USER, READER)}
        user = known.get(request.headers.get("Authorization", ""))
        if user is None:
            return web.Response(
                status=401, text="Unauthorized", headers={"WWW-Authenticate": 'Basic realm="OpenSearch"'}
            )
        if user == READER and request.method != "GET":
            cause = {"type": "security_exception", "reason": "no permissions for [indices:data/write/bulk]"}
            return web.json_response({"error": {"root_cause": [cause], **cause}, "status": 403}, status=403)
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, f"{self._behind}{request.path_qs}", data=await request.read(), headers=headers
            ) as answer,
        ):
            passed = {name: answer.headers[name] for name in _KEPT[:2] if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=passed)

    def close(self) -> None:
        """End."""
        self._server.close()


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
