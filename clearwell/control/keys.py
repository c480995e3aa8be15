"""The local key file: which keys it has, a first one, and another. Secrets are never in a result (invariant 10).

A key file comes before everything else, so that its use cases take a path and need no platform; where the registry
answers they are audited in it, and the result says whether they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, Retryable
from clearwell.privacy.key_file import KeyInfo, LocalKeyring, next_id, require_no_file
from clearwell.registry import audit


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """A key file to be made, or to be given another key: `active` seals from then on, `before` until then."""

    file: str
    action: str
    active: str
    before: str | None = None


class KeyChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; `audited`: whether a registry took it down."""

    file: str
    active: str
    audited: bool


def list_keys(file: Path) -> Sequence[KeyInfo]:
    """The keys in the order they were made. Raises ConfigError when the file is missing, damaged or not private."""
    return LocalKeyring(file).infos()


def plan_create(file: Path) -> KeyChange:
    """A key file with one key. Raises ConfigError (code "key_file_exists") when it is there."""
    require_no_file(file)
    return KeyChange(file=str(file), action="create", active=next_id([]))


def plan_rotate(file: Path) -> KeyChange:
    """Another key that seals; the older ones still open. Raises as `list_keys`."""
    keys = list_keys(file)
    before = next(key.id for key in keys if key.active)
    return KeyChange(file=str(file), action="rotate", active=next_id(key.id for key in keys), before=before)


def apply(platform: Platform | None, actor: Actor, plan: KeyChange) -> KeyChanged:
    """Change the file; audited where `platform` has a registry that answers.

    Raises ConfigError when the file can't be written, or has changed since it was planned ("plan_is_old").
    """
    file = Path(plan.file)
    keyring = LocalKeyring.create(file) if plan.before is None else LocalKeyring.rotate(file, plan.before)
    active = keyring.seal_key(None).id
    return KeyChanged(file=plan.file, active=active, audited=_audit(platform, actor, plan))


def _audit(platform: Platform | None, actor: Actor, plan: KeyChange) -> bool:
    if platform is None:
        return False
    try:
        with platform.changing(actor) as session:
            audit.record(session, plan.action, f"keys/{plan.file}", {"active": plan.active})
    except (ConfigError, Retryable):
        return False
    return True
