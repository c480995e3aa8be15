"""Egress of what fsspec opens: which servers a URL and its options lead to, judged before the first connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from clearwell.egress import require_allowed_url, rules
from clearwell.errors import ConfigError

_OF_HOST = ("http", "https", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs", "webdav", "webdavs")
_HOMES = {"s3": "https://s3.amazonaws.com", "s3a": "https://s3.amazonaws.com", "gs": "https://storage.googleapis.com"}
_NOWHERE = ("memory", "file", "local")


def require_allowed_store(url: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError when `url`, or a server named in `options`, may not be reached, Retryable without a name."""
    scheme = urlsplit(url).scheme.lower()
    if scheme in _NOWHERE:
        return
    endpoints = list(_urls(options))
    if scheme in _OF_HOST:
        endpoints.append(url)
    if not endpoints and scheme in _HOMES:
        endpoints.append(_HOMES[scheme])
    if not endpoints and rules().closed:
        raise ConfigError(f'"{scheme}" URLs are not judged by CLEARWELL_EGRESS_ALLOW: none may be reached.')
    for one in endpoints:
        require_allowed_url(one, 80 if one.startswith("http:") else 443)


def _urls(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _urls(inner)
    elif isinstance(value, str) and value.startswith(("http://", "https://")):
        yield value
