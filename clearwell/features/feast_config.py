"""What `feature_store.yaml` says: where Feast's registry and stores are. Without importing Feast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from clearwell.errors import ConfigError
from clearwell.settings import Settings, external, redact

PROJECT = "clearwell"
SCHEMA = "clearwell_feast"
"""Where Feast's registry is in our PostgreSQL: a schema of its own."""

PROVIDER = "clearwell.features.provider.ClearwellProvider"
ONLINE_STORE = "clearwell.features.online_store.ClearwellOnlineStore"
OFFLINE_STORE = "clearwell.features.offline_store.ClearwellOfflineStore"
"""Over Parquet files: no server, no network, nothing to install beside Feast."""

FILE = "feature_store.yaml"

_POSTGRES = ("postgresql", "postgres")


class Address(str):
    """A URL that shows no password where Feast prints its configuration (invariant 10)."""

    def __repr__(self) -> str:
        return repr(redact(self))


def repository(settings: Settings, project: str = PROJECT, *, make: bool = False) -> dict[str, Any]:
    """Feast's `RepoConfig` as plain values. `make`: its registry's tables may be made, else they must be there."""
    return _repository(registry_url(settings), settings.postgres, project, make)


def registry_url(settings: Settings) -> str:
    """Where the registry is, as SQLAlchemy writes it: CLEARWELL_FEAST_REGISTRY, else our PostgreSQL.

    Raises ConfigError when it is no URL.
    """
    address = settings.feast_registry or settings.postgres
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise ConfigError("CLEARWELL_FEAST_REGISTRY is no URL: write it as SQLAlchemy does, postgresql://… say.")
    return f"postgresql+psycopg://{rest}" if scheme in _POSTGRES else address


def in_postgres(url: str) -> bool:
    """Whether a registry is in PostgreSQL, where it has a schema of its own."""
    return url.startswith("postgresql")


def write_file(settings: Settings, project: str = PROJECT) -> Path:
    """Write `feature_store.yaml` into the data folder, for Feast's own tools; returns where it is.

    An address that the environment gives is written as a reference to it (`${CLEARWELL_POSTGRES}`). That of the
    embedded server is written out, as it is in endpoints.json beside it: both are for this user alone.
    """
    named = external()
    postgres = "${CLEARWELL_POSTGRES}" if "postgres" in named else settings.postgres
    registry = registry_url(settings)
    if settings.feast_registry:
        registry = "${CLEARWELL_FEAST_REGISTRY}"
    elif "postgres" in named:
        registry = postgres
    text = yaml.safe_dump(_plain(_repository(registry, postgres, project, make=False)), sort_keys=False)
    folder = settings.home / "feast"
    folder.mkdir(parents=True, exist_ok=True)
    path, part = folder / FILE, folder / f".{FILE}.part"
    part.touch(mode=0o600)
    part.write_text(
        "# Made by `clearwell feature apply`. Use it with FeatureStore(repo_path=...), or `feast -c`.\n" + text
    )
    part.replace(path)
    return path


def _repository(registry: str, postgres: str, project: str, make: bool) -> dict[str, Any]:
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if in_postgres(registry) or registry.startswith("${"):
        engine["connect_args"] = {"connect_timeout": 10, "options": f"-c search_path={SCHEMA}"}
    return {
        "project": project,
        "provider": PROVIDER,
        "registry": {
            "registry_type": "sql",
            "path": Address(registry),
            "cache_ttl_seconds": 60,
            "schema_mode": "auto" if make else "verify",
            "sqlalchemy_config_kwargs": engine,
        },
        "online_store": {"type": ONLINE_STORE, "postgres": Address(postgres)},
        "offline_store": {"type": OFFLINE_STORE},
        "entity_key_serialization_version": 3,
    }


def _plain(value: Any) -> Any:
    """For YAML, which knows no subclass of str."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, str) else value
