"""Where the servers and folders are: environment first, then the embedded stack of this data folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clearwell.errors import ConfigError

ENDPOINTS_FILE = "endpoints.json"
"""Written by the embedded stack into the data folder (mode 0600: it holds the servers' passwords)."""

SERVERS = ("kafka", "postgres", "mongo")
"""The servers that a platform stands on, by the names of their settings, in the order of starting."""

_homes: set[Path] = set()
"""Data folders that this process has loaded, beside the environment's own: `kafka_login` looks there, too."""


class Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses of the three servers, as the embedded stack writes them; with the login, where its own Kafka is one."""

    kafka: str
    postgres: str
    mongo: str
    kafka_user: str = ""
    kafka_password: str = ""

    def __repr__(self) -> str:  # invariant 10
        return f"Endpoints(kafka={self.kafka!r}, postgres={redact(self.postgres)!r}, mongo={redact(self.mongo)!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Everything a process needs to know about its surroundings.

    kafka: "host:port[,host:port]"; postgres: a "postgresql://" URL; mongo: a "mongodb://" URL with a database.
    home: the data folder; schemas: the folder of contracts; keys: the key file. lake: the URL or folder under which the
    platform's own Delta tables are (None: the data folder). offline: the folder or fsspec URL under which the history
    of feature views is (None: `offline` in the data folder). feast_registry: the SQLAlchemy URL of Feast's registry
    (None: a schema of its own in our PostgreSQL).
    """

    kafka: str
    postgres: str
    mongo: str
    home: Path
    schemas: Path
    keys: Path
    lake: str | None = None
    offline: str | None = None
    feast_registry: str | None = None

    def __repr__(self) -> str:  # invariant 10
        return f"Settings(kafka={self.kafka!r}, postgres={redact(self.postgres)!r}, mongo={redact(self.mongo)!r})"


def home_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The data folder: CLEARWELL_HOME, or `.clearwell` in the working directory."""
    return Path(env.get("CLEARWELL_HOME", ".clearwell")).absolute()


def schemas_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The folder of contracts: CLEARWELL_SCHEMAS, or `schemas` in the working directory."""
    return Path(env.get("CLEARWELL_SCHEMAS", "schemas")).absolute()


def key_file(env: Mapping[str, str] = os.environ) -> Path:
    """The local key file: CLEARWELL_KEYS, or `keys.json` in the data folder."""
    return Path(env["CLEARWELL_KEYS"]).absolute() if "CLEARWELL_KEYS" in env else home_folder(env) / "keys.json"


def metrics_address(env: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Where a process serves its metrics: host and port (0: any free one) of CLEARWELL_METRICS; None: "off".

    Without it a free port of this host alone. Raises ConfigError that names the variable.
    """
    address = env.get("CLEARWELL_METRICS", "").strip() or "127.0.0.1:0"
    if address == "off":
        return None
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or "/" in host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ConfigError('CLEARWELL_METRICS must be "host:port", such as 127.0.0.1:9464, or "off".')
    return host, int(port)


def external(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The servers that the environment names, by "kafka", "postgres", "mongo"; those are never embedded."""
    return {name: env[f"CLEARWELL_{name.upper()}"] for name in SERVERS if env.get(f"CLEARWELL_{name.upper()}")}


def load(env: Mapping[str, str] = os.environ) -> Settings:
    """Settings of this process. Raises ConfigError when a server is neither named nor embedded."""
    home = home_folder(env)
    values = external(env)
    if len(values) < len(SERVERS):
        values = _embedded(home) | values
    missing = [f"CLEARWELL_{name.upper()}" for name in SERVERS if name not in values]
    if missing:
        raise ConfigError(
            f"No stack is running in {home} and {', '.join(missing)} is not set: "
            "run `clearwell up`, or point it at your servers."
        )
    servers = values["kafka"], values["postgres"], values["mongo"]
    places = [env.get(f"CLEARWELL_{name}") or None for name in ("LAKE", "OFFLINE", "FEAST_REGISTRY")]
    return Settings(*servers, home, schemas_folder(env), key_file(env), *places)


def _embedded(home: Path) -> dict[str, str]:
    endpoints = _endpoints(home)
    if endpoints is None:
        return {}
    _homes.add(home)
    return {"kafka": endpoints.kafka, "postgres": endpoints.postgres, "mongo": endpoints.mongo}


def _endpoints(home: Path) -> Endpoints | None:
    try:
        written = (home / ENDPOINTS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ConfigError(f"{home / ENDPOINTS_FILE} belongs to another user: run as that one, or use --home.") from None
    try:
        return msgspec.json.decode(written, type=Endpoints)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{home / ENDPOINTS_FILE} is damaged: run `clearwell down`, then `clearwell up`.") from error


def kafka_login(bootstrap: str, env: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """User and password of the embedded Kafka that listens at `bootstrap`; None where none of ours does."""
    for home in (home_folder(env), *sorted(_homes)):
        endpoints = _endpoints(home)
        if endpoints is not None and endpoints.kafka == bootstrap and endpoints.kafka_password:
            return endpoints.kafka_user, endpoints.kafka_password
    return None


def redact(address: str) -> str:
    """Host, port and database of an address, and nothing else of it, for people and logs (invariant 10).

    Passwords stand in many places: before the last @, in the query, in libpq's words. So it isn't a password that is
    taken out, but what may be shown that is kept.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        if _HOSTS.fullmatch(address):
            return address
        words = dict(_WORDS.findall(address))
        shown = [f"{name}={words[name]}" for name in ("host", "hostaddr", "port", "dbname") if name in words]
        return " ".join(shown) or "***"
    match = _PLACE.match(rest.rpartition("@")[2].partition("?")[0].partition("#")[0])
    return f"{scheme}://{match[0]}" if match and _SCHEME.fullmatch(scheme) else "***"


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}")
_HOSTS = re.compile(r"[\w.:,\[\]-]*:[0-9]+")
_PLACE = re.compile(r"[\w.:,\[\]%-]*(/[^?#;=&]*)?")
_WORDS = re.compile(r"(\w+)\s*=\s*('(?:[^'\\\\]|\\\\.)*'|[^\s']+)")
