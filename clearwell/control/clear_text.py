"""What a person sees in the clear is handed out here and nowhere else, and the audit says to whom and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from clearwell.control.platform import Actor, Platform
from clearwell.registry import audit

Clear = TypeVar("Clear")


def reveal(platform: Platform, actor: Actor, subject: str, read: Callable[[Session], Clear]) -> Clear:
    """What `read` opens, returned once the audit of it is durable, in the same transaction. Blocks.

    subject: what is seen, as the audit names it ("dead-letter/<stream>/<id>"). Raises as `read`: then nobody has seen
    anything, and nothing is audited.
    """
    with platform.changing(actor) as session:
        clear = read(session)
        audit.record(session, "reveal", subject)
    return clear
