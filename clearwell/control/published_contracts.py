"""What is published, as people and programs see it: beside the files that it was published from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from clearwell.contract.model import Contract
from clearwell.control.platform import Platform
from clearwell.errors import ClearwellError, ContractError
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

    def differs(self, text: str) -> bool:
        """Whether a file says something else by now."""
        return digest_of(text) != self.digest


def describe_publication(published: PublishedVersion | None, text: str | None) -> str:
    """Of a version, in words: is it published, and is that what its file says. `text` None: there is no file."""
    if published is None:
        return "not published"
    if published.retired_at is not None:
        return "retired"
    shown = f"{published.name.removeprefix(published.stream + ' ')} {published.digest[:SHORT]}"
    if text is None:
        return f"{shown}, no file"
    return shown if not published.differs(text) else f"{shown}, the file differs"


def list_published(platform: Platform) -> list[PublishedVersion]:
    """The newest revision of each version that was ever published, by stream and version."""
    with platform.looking() as session:
        newest = {(known.stream, known.version): known for known in contracts.revisions(session)}
    return [_version(known) for known in newest.values()]


def published_versions(platform: Platform | None) -> dict[tuple[str, int], PublishedVersion] | None:
    """As `list_published`, by stream and version; None where nobody can be asked: files can be shown all the same."""
    if platform is None:
        return None
    try:
        return {(known.stream, known.version): known for known in list_published(platform)}
    except ClearwellError:
        return None


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
