"""Where Delta tables are: a folder or an object store's URL, and how to get in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

from msgspec import Meta

from clearwell.destinations.protocol import DestinationConfig
from clearwell.egress_stores import require_allowed_store
from clearwell.settings import Settings, redact
from clearwell.source import PATH, SECRET

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

_BOUNDS = {"connect_timeout": "10s", "timeout": "30s", "retry_timeout": "30s"}
"""Of one request to an object store, and of all its retries together: a minute at most (invariant 12)."""


class LakeConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which object store, or folder, and how to get in."""

    url: Annotated[
        str | None,
        PATH,
        Meta(description="a folder, or a URL such as s3://bucket/path, gs://… or az://…; the tables are under it."),
    ] = None
    storage_options: Annotated[
        dict[str, str],
        Meta(description="what the store's client is told, such as `aws_region` and `aws_endpoint_url`."),
    ] = {}
    storage_secrets: Annotated[
        dict[str, Annotated[str, SECRET]],
        Meta(
            description="options that are secrets, such as `aws_secret_access_key`; they are laid over "
            "`storage_options`."
        ),
    ] = {}


@dataclass(frozen=True, slots=True)
class TableLocation:
    """One table: its URL or folder, and what its store's client is told (kept out of repr: invariant 10)."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    judged: bool = False
    """Whether only servers that may be reached are: those of the platform's own lake its operator has named."""

    def client_options(self) -> dict[str, str] | None:
        """What to tell the store's client before it connects.

        Raises ConfigError when a server that it would connect to may not be reached, Retryable without its name.
        """
        if self.judged:
            require_allowed_store(self.url, self.options)
        if not _URL.match(self.url):
            return dict(self.options) or None
        known = {name.lower() for name in self.options}
        return {name: value for name, value in _BOUNDS.items() if name not in known} | dict(self.options)

    @property
    def shown(self) -> str:
        """The URL for people, without a password."""
        return redact(self.url)


@dataclass(frozen=True, slots=True)
class Root:
    """What all tables of one lake are under."""

    place: TableLocation

    @classmethod
    def of(cls, settings: Settings, config: LakeConfig | None = None) -> Self:
        """A registered lake's, or the platform's own: CLEARWELL_LAKE, else the data folder.

        The client of the platform's own reads its options from the environment (AWS_REGION, AWS_ENDPOINT_URL, …).
        """
        judged = config is not None and config.url is not None
        if config is None or config.url is None:
            config = LakeConfig(url=settings.lake or str(settings.home))
        url = config.url or ""
        if not _URL.match(url):
            url = str(Path(url).absolute())
        return cls(TableLocation(url.rstrip("/"), config.storage_options | config.storage_secrets, judged))

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one of this machine."""
        return None if _URL.match(self.place.url) else Path(self.place.url)

    def table(self, *names: str) -> TableLocation:
        """The table at `names` below the root, such as ("lake", "flights_v1")."""
        return replace(self.place, url="/".join((self.place.url, *names)))
