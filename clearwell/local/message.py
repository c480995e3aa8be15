"""One line that the supervisor tells the waiting `up`."""

from __future__ import annotations

import msgspec


class StackMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress (`what`, `done` of `total`), or `ready`, or an `error` with its exit code; the last two end the talk."""

    what: str = ""
    done: int = 0
    total: int = 0
    ready: bool = False
    error: str = ""
    exit_code: int = 0
