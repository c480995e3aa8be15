"""What must exist before the services start, on embedded and on real servers alike."""

from __future__ import annotations

from clearwell.settings import Settings


def prepare(settings: Settings) -> None:
    """Bring the surroundings up to date; doing it again is harmless. Blocks.

    Raises ConfigError where the user must mend something, Retryable where a server is not well.
    """
