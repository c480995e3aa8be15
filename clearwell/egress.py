"""Which addresses sources and destinations may connect to, so that a configuration can't reach where it should not.

CLEARWELL_EGRESS_ALLOW is a list, parted by commas, of host names (`api.example.com`, `*.example.com`), addresses and
networks (`10.1.0.0/16`). Set, it is an allow-list: nothing else is reached. Unset, all but link-local addresses is,
where clouds keep their machines' credentials. Names are judged by what they resolve to, at the moment of connecting.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from clearwell.errors import ConfigError, Retryable

VARIABLE = "CLEARWELL_EGRESS_ALLOW"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Egress:
    """The rules. `closed` says that only what `names` or `networks` hold is reached."""

    closed: bool
    names: tuple[str, ...]
    networks: tuple[Network, ...]

    def allows(self, host: str, address: str) -> bool:
        """Whether `address`, which `host` resolved to, may be connected to."""
        found = plain(address)
        if any(found.version == network.version and found in network for network in self.networks):
            return True
        if any(fnmatchcase(host.lower().rstrip("."), name) for name in self.names):
            return True
        return not self.closed and not found.is_link_local

    def require(self, host: str, address: str) -> None:
        """Raises ConfigError when `address`, which `host` resolved to, may not be connected to."""
        if not self.allows(host, address):
            raise ConfigError(f"{host} is an address that may not be reached: add it to {VARIABLE} if it should be.")


def plain(address: str) -> Address:
    """An address without its zone, and an IPv4 address that was written as IPv6 as itself."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def rules(env: Mapping[str, str] = os.environ) -> Egress:
    """The rules of this process. Raises ConfigError for what is neither a name, an address nor a network."""
    entries = [entry.strip().lower() for entry in env.get(VARIABLE, "").split(",") if entry.strip()]
    names, networks = [], []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            if "/" in entry or not entry.replace("*", "").replace(".", "").replace("-", "").isalnum():
                raise ConfigError(f'{VARIABLE}: "{entry}" is no host name, address or network.') from None
            names.append(entry)
    return Egress(VARIABLE in env, tuple(names), tuple(networks))


def require_allowed(host: str, port: int) -> None:
    """Resolve `host` and judge every address of it. Blocks.

    Raises ConfigError when one may not be reached, Retryable when the name can't be resolved now. For clients that
    resolve by themselves afterwards; what can judge while connecting should (`Egress.require`).
    """
    now = rules()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise Retryable(f"The host name {host} can't be resolved: is it right?") from None
    for *_, address in found:
        now.require(host, str(address[0]))


def require_allowed_url(url: str, default_port: int) -> None:
    """`require_allowed` of the host in a URL; a URL without a host (a local file) passes."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        raise ConfigError("The URL is not valid: check its host and port.") from None
    if host:
        require_allowed(host, port)
