"""The one place that knows which key ring a process uses: a key file today, a KMS for its settings later."""

from __future__ import annotations

from clearwell.privacy.key_file import LocalKeyring
from clearwell.privacy.keyring import Keyring
from clearwell.settings import Settings


def open_keyring(settings: Settings) -> Keyring:
    """The key ring of these settings. Raises ConfigError when its file is missing, damaged or not private.

    Invariant 6: nothing that needs keys starts without.
    """
    return LocalKeyring(settings.keys)
