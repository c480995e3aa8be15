"""Egress of what fsspec and Delta open: which servers a URL and its options lead to, judged before connecting.

Options are known by their keys, in any case, and by what looks like a URL in any of them: an endpoint, a proxy, a host,
a connection string. Those clients resolve names by themselves, so a name whose owner changes it in between is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from clearwell.egress import require_allowed_url, rules
from clearwell.errors import ConfigError

_OF_HOST = ("http", "https", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs", "webdav", "webdavs")
_HOMES = {"s3": "https://s3.amazonaws.com", "s3a": "https://s3.amazonaws.com", "gs": "https://storage.googleapis.com"}
_AZURE = ("az", "abfs", "abfss", "adl", "azure", "wasb", "wasbs")
_NOWHERE = ("memory", "file", "local")
_SERVER_KEY = re.compile(r"endpoint|prox|host|url|uri|server|authority|address|domain", re.I)
"""Parts of the names of options that say where to connect to."""
_NO_SERVER_KEY = re.compile(r"style|signing|key|token|secret|password|header|region|version|excludes|addressing", re.I)
_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://[^\s;,\"'|]+", re.I)
_HOST = re.compile(r"[\w.-]+\.[\w-]+(:\d+)?(/.*)?|\[[0-9a-f:.%]+\](:\d+)?(/.*)?|[\w.-]+:\d+(/.*)?|localhost", re.I)


def require_allowed_store(url: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError when `url`, or a server named in `options`, may not be reached, Retryable without a name."""
    scheme = urlsplit(url).scheme.lower()
    servers = list(_servers(options, ""))
    if scheme not in _NOWHERE and "://" in url:
        proxied = servers != [] and scheme not in _OF_HOST
        if scheme in _OF_HOST:
            servers.append(url)
        elif not proxied and scheme in _HOMES:
            servers.append(_HOMES[scheme])
        elif not proxied and scheme in _AZURE:
            servers += _azure(url, options)
        if not servers and rules().closed:
            raise ConfigError(f'"{scheme}" URLs are not judged by CLEARWELL_EGRESS_ALLOW: none may be reached.')
    for server in servers:
        require_allowed_url(server, 80 if server.lower().startswith("http:") else 443)


def _servers(value: Any, key: str) -> Iterator[str]:
    """Of options, in whatever depth: `key` is the name of the nearest option that says where to connect to."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            names_server = _SERVER_KEY.search(str(name)) and not _NO_SERVER_KEY.search(str(name))
            yield from _servers(inner, str(name) if names_server else key)
    elif isinstance(value, str):
        urls = _IN_TEXT.findall(value)
        yield from urls
        if not urls and key and _HOST.fullmatch(value.strip()):
            yield f"//{value.strip()}"
        elif not urls and key and _is_host_key(key) and re.fullmatch(r"[\w.-]+", value):
            yield f"//{value}"
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _servers(inner, key)


def _is_host_key(key: str) -> bool:
    """Of an option whose bare word is a host: "db", or a number that is an address."""
    return re.search(r"host|endpoint|prox", key, re.I) is not None


def _azure(url: str, options: Mapping[str, Any]) -> list[str]:
    """abfss://container@account.dfs.core.windows.net says it itself; else the account is an option."""
    host = urlsplit(url).hostname or ""
    if "." in host:
        return [f"//{host}"]
    lower = {name.lower(): value for name, value in options.items()}
    account = next((lower[name] for name in ("account_name", "azure_storage_account_name") if name in lower), None)
    return [f"https://{account}.blob.core.windows.net"] if account else []
