"""Published contracts: what workers and collectors read. All work in the caller's transaction.

A published text never changes. A change that old readers can read is a new revision of its version, any other change a
new version; who judges that is `clearwell.control.contract_publication`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from clearwell.contract.load import parse
from clearwell.contract.model import Contract
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry.models import ContractRow


@dataclass(frozen=True, slots=True)
class PublishedContract:
    """One revision of a version. `digest`: SHA-256 of `text`, in hex."""

    stream: str
    version: int
    revision: int
    digest: str
    text: str
    published_at: datetime
    retired_at: datetime | None

    @property
    def name(self) -> str:
        """As people and error messages call it: "flights v1"; "flights v1.2" is the second revision after it."""
        return f"{self.stream} v{self.version}" + (f".{self.revision}" if self.revision else "")

    def contract(self) -> Contract:
        """What the text spells out. Raises ContractError where this release can't read it."""
        return parse(self.text, f"{self.name} (published)")


def digest_of(text: str) -> str:
    """SHA-256 of a contract's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def publish(session: Session, stream: str, version: int, revision: int, text: str) -> bool:
    """Put a revision into the registry; False when another has published that one meanwhile: nothing was changed."""
    row = {"stream": stream, "version": version, "revision": revision, "digest": digest_of(text), "text": text}
    query = insert(ContractRow).values(**row).on_conflict_do_nothing().returning(ContractRow.revision)
    return session.execute(query).first() is not None


def newest(session: Session, stream: str, version: int | None = None) -> PublishedContract | None:
    """The newest revision of a version, by default of the highest one that is not retired; None where there is none."""
    query = select(ContractRow).where(ContractRow.stream == stream)
    query = query.where(ContractRow.retired_at.is_(None) if version is None else ContractRow.version == version)
    row = session.scalars(query.order_by(ContractRow.version.desc(), ContractRow.revision.desc()).limit(1)).first()
    return None if row is None else _published(row)


def get(session: Session, stream: str, version: int | None = None) -> PublishedContract:
    """As `newest`. Raises ConfigError (code "not_published") with the nearest name when there is none."""
    published = newest(session, stream, version)
    if published is None:
        if version is None and revisions(session, stream):
            what = f"The contract of {stream} is retired: nothing reads the stream any more."
            raise ConfigError(what, code="not_published", hint=Hint("contracts.publish", stream))
        known = sorted({contract.stream for contract in current(session)})
        what = f'the stream "{stream}"' if version is None else f"{stream} v{version}"
        raise ConfigError(
            f"No contract of {what} is published.{nearest(stream, [name for name in known if name != stream])}",
            code="not_published",
            hint=Hint("contracts.publish", stream),
        )
    return published


def revisions(session: Session, stream: str | None = None) -> Sequence[PublishedContract]:
    """Everything that was ever published, of one stream or of all, by stream, version and revision."""
    query = select(ContractRow).order_by(ContractRow.stream, ContractRow.version, ContractRow.revision)
    if stream is not None:
        query = query.where(ContractRow.stream == stream)
    return [_published(row) for row in session.scalars(query)]


def current(session: Session) -> list[PublishedContract]:
    """For each stream the newest revision of its highest version that is not retired, by stream."""
    query = (
        select(ContractRow)
        .where(ContractRow.retired_at.is_(None))
        .order_by(ContractRow.stream, ContractRow.version.desc(), ContractRow.revision.desc())
        .ext(distinct_on(ContractRow.stream))
    )
    return [_published(row) for row in session.scalars(query)]


def retire(session: Session, stream: str, version: int | None = None) -> int:
    """Retire a version, or all of a stream; returns how many revisions that were not retired are now."""
    query = update(ContractRow).where(ContractRow.stream == stream, ContractRow.retired_at.is_(None))
    if version is not None:
        query = query.where(ContractRow.version == version)
    return len(session.execute(query.values(retired_at=func.now()).returning(ContractRow.revision)).all())


def restore(session: Session, stream: str, version: int) -> None:
    """Have a retired version be there again, with all its revisions."""
    query = update(ContractRow).where(ContractRow.stream == stream, ContractRow.version == version)
    session.execute(query.values(retired_at=None))


def forget(session: Session, stream: str) -> None:
    """Remove all that was ever published of a stream."""
    session.execute(delete(ContractRow).where(ContractRow.stream == stream))


def newest_revisions(session: Session) -> dict[str, tuple[int, int]]:
    """As `current`, without the texts: stream → (version, revision), cheap enough to be asked each second."""
    query = (
        select(ContractRow.stream, ContractRow.version, ContractRow.revision)
        .where(ContractRow.retired_at.is_(None))
        .order_by(ContractRow.stream, ContractRow.version.desc(), ContractRow.revision.desc())
        .ext(distinct_on(ContractRow.stream))
    )
    return {row.stream: (row.version, row.revision) for row in session.execute(query)}


def target(stream: str, version: int) -> str:
    """What the audit calls a version."""
    return f"contract/{stream}.v{version}"


def _published(row: ContractRow) -> PublishedContract:
    return PublishedContract(
        row.stream, row.version, row.revision, row.digest, row.text, row.published_at, row.retired_at
    )
