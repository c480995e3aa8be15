"""What must exist before the services start, on embedded and on real servers alike."""

from __future__ import annotations

from pathlib import Path

from clearwell.errors import ConfigError, Hint
from clearwell.settings import Settings

KEYS_MADE = "keys.made"
"""In the data folder: it has had a key file of its own."""


def prepare(settings: Settings) -> None:
    """Bring the surroundings up to date: key file and registry. Doing it again is harmless.

    Blocks. Raises ConfigError where the user must mend something, Retryable where a server is not well.
    """
    from clearwell.registry.migrate import migrate

    make_keys(settings)
    migrate(settings.postgres)


def make_keys(settings: Settings) -> None:
    """Make the key file of a new data folder. Never a second one: what the lost one has sealed would stay closed, and
    the same person would get another pseudonym (invariant 6). Raises ConfigError when it has gone.
    """
    from clearwell.privacy.key_file import LocalKeyring

    if lacks_keys(settings.home, settings.keys):
        LocalKeyring.create(settings.keys)
    (settings.home / KEYS_MADE).touch()


def lacks_keys(home: Path, keys: Path) -> bool:
    """Whether `make_keys` would make the key file `keys`; changes nothing. Raises ConfigError as it does."""
    if keys.exists():
        return False
    if keys.parent != home:
        raise ConfigError(f"There is no key file at {keys}.", code="no_key_file", hint=Hint("keys.create"))
    if (home / KEYS_MADE).exists():
        raise ConfigError(
            f"The key file {keys} has gone: put its copy back. Without it, what it has sealed stays closed; "
            "`clearwell down --wipe` starts anew, without the data."
        )
    return True
