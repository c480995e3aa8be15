"""What of our environment the stack's processes get: what they need by name, never all there is.

An environment holds other programs' secrets, and each process passes its own on to whatever it starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from clearwell.secret_references import readable_names

SYSTEM = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"),
    *("PYTHONPATH", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONWARNINGS", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
)
"""For the servers, and for everybody."""

NETWORK = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""For who talks to other machines."""

SERVICES = (
    *("CLEARWELL_*", *NETWORK),
    *("AWS_*", "AZURE_*", "GOOGLE_APPLICATION_CREDENTIALS", "PGPASSFILE", "PGSSLROOTCERT"),
)
"""For our own, too: they talk to stores whose drivers look for their logins in these."""


def for_servers(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of Kafka, PostgreSQL and the MongoDB-wire server."""
    return {name: value for name, value in env.items() if _fits(name, SYSTEM)}


def for_programs(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of programs of others that we run (Singer taps): their settings are in files."""
    return {name: value for name, value in env.items() if _fits(name, (*SYSTEM, *NETWORK))}


def for_services(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of the supervisor and of our services: with what `${env:NAME}` may name."""
    patterns = (*SYSTEM, *SERVICES, *readable_names(env))
    return {name: value for name, value in env.items() if _fits(name, patterns)}


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
