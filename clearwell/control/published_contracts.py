"""What is published, as people and programs see it: beside the files that it was published from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from clearwell.contract.model import Contract
from clearwell.control.platform import Platform
from clearwell.errors import ContractError
from clearwell.registry import contracts
from clearwell.registry.contracts import PublishedContract, digest_of

SHORT = 12
"""Signs of a digest that tell texts apart for people."""


class PublishedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The newest revision of a published version. `digest`: SHA-256 of its text, in hex; `revisions`: how many."""

    stream: str
    version: int
    revision: int
    digest: str
    published_at: datetime
    retired_at: datetime | None

    @property
    def name(self) -> str:
        """As people call it: "flights v1", after two changes "flights v1.2"."""
        return f"{self.stream} v{self.version}" + (f".{self.revision}" if self.revision else "")

    @property
    def short_digest(self) -> str:
        """Its beginning."""
        return self.digest[:SHORT]

    def differs(self, text: str) -> bool:
        """Whether a file says something else by now."""
        return digest_of(text) != self.digest


def list_published(platform: Platform) -> list[PublishedVersion]:
    """The newest revision of each version that was ever published, by stream and version."""
    with platform.looking() as session:
        newest = {(known.stream, known.version): known for known in contracts.revisions(session)}
    return [_version(known) for known in newest.values()]


def find_published(platform: Platform, stream: str, version: int | None = None) -> PublishedVersion | None:
    """A version, the highest by default; None where it was never published."""
    versions = [known for known in list_published(platform) if known.stream == stream]
    return next((known for known in reversed(versions) if version in (None, known.version)), None)


def published_contract(platform: Platform, stream: str, version: int | None = None) -> Contract:
    """What a stream is cleaned by; `version` None: the highest that is not retired.

    Raises ConfigError (code "not_published") with the nearest name, ContractError where this release can't read it.
    """
    with platform.looking() as session:
        return contracts.get(session, stream, version).contract()


def current_contracts(platform: Platform) -> list[Contract]:
    """What each stream is cleaned by, by stream; without those that only a newer release can read."""
    with platform.looking() as session:
        return readable(contracts.current(session))


def readable(published: Sequence[PublishedContract]) -> list[Contract]:
    """Those that this release can read: what one says that it can't is the business of nobody else."""
    parsed: list[Contract] = []
    for known in published:
        try:
            parsed.append(known.contract())
        except ContractError:
            continue
    return parsed


def _version(known: PublishedContract) -> PublishedVersion:
    return PublishedVersion(
        stream=known.stream,
        version=known.version,
        revision=known.revision,
        digest=known.digest,
        published_at=known.published_at,
        retired_at=known.retired_at,
    )
