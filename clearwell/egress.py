"""Which addresses sources and destinations may connect to, so that a configuration can't reach where it should not.

CLEARWELL_EGRESS_ALLOW is a list, parted by commas, of host names (`api.example.com`, `*.example.com`), addresses and
networks (`10.1.0.0/16`). Set, it is an allow-list: nothing else is reached. Unset, the internet and this machine are;
private networks are not. Where clouds keep their machines' credentials is reached by an entry for just that alone,
never by a name or a wide network: whoever owns a name decides what it resolves to.

A name is resolved once, its addresses are judged, and those are connected to: `connect`, or `reachable` for a client
that takes addresses. The platform's own servers, which its operator names, are not judged.
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

METADATA: tuple[Network, ...] = (
    ipaddress.ip_network("169.254.0.0/16"),  # link-local: AWS, Google, Azure, Oracle, OpenStack and most others
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::/32"),  # AWS over IPv6: metadata, credentials of pods
    ipaddress.ip_network("fd20:ce::254/128"),  # Google over IPv6
    ipaddress.ip_network("fd00:42::42/128"),  # Scaleway over IPv6
    ipaddress.ip_network("100.100.100.200/32"),  # Alibaba
    ipaddress.ip_network("192.0.0.192/32"),  # Oracle, classic
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's platform, a public address
)
"""Where clouds answer their machines, with credentials among the rest."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")


@dataclass(frozen=True, slots=True)
class Egress:
    """The rules. `closed` says that only what `names` or `networks` hold is reached."""

    closed: bool
    names: tuple[str, ...]
    networks: tuple[Network, ...]

    def allows(self, host: str, address: str) -> bool:
        """Whether `address`, which `host` resolved to, may be connected to."""
        number = plain(address)
        entries = [network for network in self.networks if _holds(network, number)]
        for metadata in METADATA:
            if _holds(metadata, number):
                return any(_within(entry, metadata) for entry in entries)
        if entries or any(fnmatchcase(host.lower().rstrip("."), name) for name in self.names):
            return True
        return not self.closed and (number.is_loopback or (number.is_global and not number.is_multicast))

    def require(self, host: str, address: str) -> None:
        """Raises ConfigError when `address`, which `host` resolved to, may not be connected to."""
        if not self.allows(host, address):
            raise ConfigError(f"{host} is an address that may not be reached: add it to {VARIABLE} if it should be.")


def plain(address: str) -> Address:
    """An address without its zone, and an IPv4 address that is written as IPv6, in whatever way, as itself."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv4Address):
        return number
    inside = number.ipv4_mapped or number.sixtofour or (number.teredo[1] if number.teredo else None)
    if inside is None and (number in _NAT64 or (number in _COMPATIBLE and int(number) > 1)):
        inside = ipaddress.IPv4Address(int(number) & 0xFFFF_FFFF)
    return inside or number


def _holds(network: Network, number: Address) -> bool:
    return network.version == number.version and number in network


def _within(entry: Network, network: Network) -> bool:
    if isinstance(entry, ipaddress.IPv4Network) and isinstance(network, ipaddress.IPv4Network):
        return entry.subnet_of(network)
    if isinstance(entry, ipaddress.IPv6Network) and isinstance(network, ipaddress.IPv6Network):
        return entry.subnet_of(network)
    return False


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


def reachable(host: str, port: int) -> list[str]:
    """The addresses of `host` that may be reached, resolved once: connect to these and to no others. Blocks.

    Raises ConfigError when it has addresses and none may be reached, Retryable when the name can't be resolved now.
    """
    now = rules()
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Retryable(f"The host name {host} can't be resolved: is it right?") from None
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in answers))
    allowed = [address for address in addresses if now.allows(host, address)]
    if not allowed:
        now.require(host, addresses[0])
    return allowed


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to an address of `host` that may be reached, made within `seconds` an address.

    Raises as `reachable`, and OSError when none answers.
    """
    failure: OSError | None = None
    for address in reachable(host, port):
        try:
            return socket.create_connection((address, port), seconds)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


def require_allowed(host: str, port: int) -> None:
    """Resolve `host` and judge every address of it. Blocks.

    Raises ConfigError when one may not be reached, Retryable when the name can't be resolved now. For clients that
    resolve by themselves afterwards; what can be connected, or given addresses, should be.
    """
    now = rules()
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Retryable(f"The host name {host} can't be resolved: is it right?") from None
    for *_, address in answers:
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
