"""What must exist before the services start, on embedded and on real servers alike."""

from __future__ import annotations

from clearwell.local.services import contracts
from clearwell.settings import Settings


def prepare(settings: Settings) -> None:
    """Bring the surroundings up to date: registry, topics of every contract. Doing it again is harmless. Blocks.

    Raises ConfigError where the user must mend something, Retryable where a server is not well.
    """
    from clearwell.kafka.admin import ensure_topics
    from clearwell.registry.migrate import migrate

    migrate(settings.postgres)
    for contract in contracts(settings.schemas):
        ensure_topics(settings.kafka, contract.stream, contract.version)
