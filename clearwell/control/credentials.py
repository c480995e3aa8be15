"""How a person's own programs log in to the embedded servers: files that hold the passwords, never a password."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from clearwell.local.clients import FOLDER
from clearwell.settings import Settings, external

_FILES = {
    "kafka": ("kafka.properties", "librdkafka.properties"),
    "postgres": ("pgpass",),
    "mongo": ("mongo.url",),
}


class ServerLogin(msgspec.Struct, frozen=True):
    """Host and port of a server, and the files that its clients read (invariant 10: no password)."""

    address: str
    user: str
    files: Sequence[str]


def list_logins(settings: Settings) -> dict[str, ServerLogin]:
    """By server; those that the environment names are left out, for their logins are the person's own."""
    folder, named = settings.home / FOLDER, external()
    return {
        server: ServerLogin(_address(getattr(settings, server)), "clearwell", [str(folder / name) for name in names])
        for server, names in _FILES.items()
        if server not in named and all((folder / name).exists() for name in names)
    }


def _address(server: str) -> str:
    return server if "://" not in server else urlsplit(server).netloc.rpartition("@")[2]
