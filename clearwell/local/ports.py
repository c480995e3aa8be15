"""Which loopback ports the servers listen on: chosen ones, or free ones."""

from __future__ import annotations

import random
import socket

import msgspec

from clearwell.errors import ConfigError

LOOPBACK = "127.0.0.1"

FREE_RANGE = range(15_000, 32_000)
"""Below the range from which Linux takes the near end of connections (32768–60999), or a connection of somebody else
could take a server's port while that server restarts."""


class Ports(msgspec.Struct, frozen=True):
    """The ports asked for; None means any free one. `controller` is Kafka's second, internal listener.

    `push` is where our collector takes events over HTTP.
    """

    kafka: int | None = None
    postgres: int | None = None
    mongo: int | None = None
    controller: int | None = None
    push: int | None = None


def choose(requested: Ports, before: Ports | None = None) -> Ports:
    """`requested` with every None replaced: by the port of `before` while that is free, else by any free one.

    Raises ConfigError when a chosen port is taken or chosen twice.
    """
    taken: set[int] = set()
    ports: dict[str, int] = {}
    fixed = [(name, port) for name, port in msgspec.structs.asdict(requested).items() if port is not None]
    for name, port in fixed:
        if port in taken:
            raise ConfigError(f"Port {port} is chosen twice: give each server its own port.")
        if not is_free(port):
            raise ConfigError(
                f"Port {port} for {name} is in use by another program: choose another one with --{name}-port, "
                "or leave the option out for a free one."
            )
        taken.add(port)
        ports[name] = port
    for name, port in msgspec.structs.asdict(before or Ports()).items():
        if name not in ports and port is not None and port not in taken and is_free(port):
            taken.add(port)
            ports[name] = port
    for name in Ports.__struct_fields__:
        if name not in ports:
            ports[name] = _free(taken)
    return Ports(**ports)


def changes(before: Ports | None, now: Ports, requested: Ports) -> dict[str, tuple[int, int]]:
    """What had to go elsewhere: name → the old port and the new one.

    Not what was `requested`, and not `controller`, which nobody uses.
    """
    old, new, asked = (msgspec.structs.asdict(ports or Ports()) for ports in (before, now, requested))
    names = [name for name in old if name != "controller" and asked[name] is None and old[name] is not None]
    return {name: (old[name], new[name]) for name in names if old[name] != new[name]}


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True


def _free(taken: set[int]) -> int:
    for port in random.sample(FREE_RANGE, len(FREE_RANGE)):
        if port not in taken and is_free(port):
            taken.add(port)
            return port
    raise ConfigError("No loopback port is free on this machine.")
