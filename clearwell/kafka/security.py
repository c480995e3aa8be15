"""How to talk to the Kafka that CLEARWELL_KAFKA names: in the clear, over TLS, with a password.

Read from the environment where a client is made, so that a password in a file is found anew when it has changed:

    CLEARWELL_KAFKA_SECURITY   plaintext (default), ssl, sasl_plaintext, sasl_ssl
    CLEARWELL_KAFKA_CA         a PEM file of the authorities to trust; by default those of the system
    CLEARWELL_KAFKA_MECHANISM  SCRAM-SHA-512 (default), SCRAM-SHA-256, PLAIN
    CLEARWELL_KAFKA_USER       a name, or a reference
    CLEARWELL_KAFKA_PASSWORD   a reference, and nothing else: ${env:NAME} or ${file:path} (invariant 10)

The embedded Kafka has a password, too, which `clearwell up` has made: its data folder tells it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from clearwell.errors import ConfigError, nearest
from clearwell.secret_references import has_reference, resolve
from clearwell.settings import kafka_login

PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL = "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"
PROTOCOLS = (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)
SecurityOption = Annotated[
    Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
    Meta(description='"plaintext", "ssl", "sasl_plaintext" or "sasl_ssl".'),
]
MechanismOption = Annotated[
    Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
    Meta(description='"PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512".'),
]
"""Options of the source and of the destination that are clusters of others."""

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


@dataclass(frozen=True, slots=True, repr=False)
class KafkaSecurity:
    """The security of one cluster. `context` is there with TLS; mechanism, user and password with SASL."""

    protocol: str = PLAINTEXT
    context: ssl.SSLContext | None = None
    mechanism: str | None = None
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:  # invariant 10
        return f"KafkaSecurity({self.protocol!r})"

    def client_options(self) -> dict[str, Any]:
        """Keywords of clients; kafka-python and aiokafka have the same."""
        return {
            "security_protocol": self.protocol,
            "ssl_context": self.context,
            **({"sasl_mechanism": self.mechanism} if self.mechanism else {}),
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }

    def librdkafka_options(self) -> dict[str, str]:
        """What librdkafka (confluent-kafka, kcat) calls the same; without TLS, whose authorities it reads by itself."""
        login = {"sasl.mechanism": self.mechanism, "sasl.username": self.user, "sasl.password": self.password}
        return {"security.protocol": self.protocol} | {name: value for name, value in login.items() if value}


def security_of(bootstrap: str, env: Mapping[str, str] = os.environ) -> KafkaSecurity:
    """How to talk to `bootstrap`: as the environment says where it is the Kafka that CLEARWELL_KAFKA names.

    The embedded one gets the login of its data folder. Any other is talked to in the clear, and sees no password.
    Raises ConfigError when a setting is missing or wrong; it quotes no secret.
    """
    protocol = env.get("CLEARWELL_KAFKA_SECURITY", PLAINTEXT).upper()
    if protocol not in PROTOCOLS:
        known = [name.lower() for name in PROTOCOLS]
        raise ConfigError(
            f'CLEARWELL_KAFKA_SECURITY is "{protocol.lower()}", but there is only {", ".join(known)}.'
            f"{nearest(protocol.lower(), known)}"
        )
    if protocol == PLAINTEXT:
        return _embedded(bootstrap, env)
    if not env.get("CLEARWELL_KAFKA"):
        raise ConfigError(
            "CLEARWELL_KAFKA_SECURITY is set, but CLEARWELL_KAFKA names no server: set that too, or neither."
        )
    if bootstrap != env["CLEARWELL_KAFKA"]:
        return _embedded(bootstrap, env)
    context = _context(env.get("CLEARWELL_KAFKA_CA")) if protocol in (SSL, SASL_SSL) else None
    if protocol == SSL:
        return KafkaSecurity(SSL, context)
    return KafkaSecurity(protocol, context, _mechanism(env), _user(env), _password(env))


def _embedded(bootstrap: str, env: Mapping[str, str]) -> KafkaSecurity:
    login = kafka_login(bootstrap, env)
    return KafkaSecurity() if login is None else KafkaSecurity(SASL_PLAINTEXT, None, MECHANISMS[0], *login)


def _context(authorities: str | None) -> ssl.SSLContext:
    """Certificates and host names are checked; there is no setting that turns this off."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"CLEARWELL_KAFKA_CA, {authorities}, can't be read as PEM certificates ({type(error).__name__})."
        ) from None


def _mechanism(env: Mapping[str, str]) -> str:
    mechanism = env.get("CLEARWELL_KAFKA_MECHANISM", MECHANISMS[0]).upper()
    if mechanism not in MECHANISMS:
        raise ConfigError(f'CLEARWELL_KAFKA_MECHANISM is "{mechanism}", but there is only {", ".join(MECHANISMS)}.')
    return mechanism


def _user(env: Mapping[str, str]) -> str:
    user = env.get("CLEARWELL_KAFKA_USER", "")
    if not user:
        raise ConfigError("CLEARWELL_KAFKA_USER is not set: Kafka with SASL needs a user and a password.")
    return _referred("CLEARWELL_KAFKA_USER", user, env) if has_reference(user) else user


def _password(env: Mapping[str, str]) -> str:
    password = env.get("CLEARWELL_KAFKA_PASSWORD", "")
    if not has_reference(password):
        raise ConfigError(
            "CLEARWELL_KAFKA_PASSWORD must say where the password is, not what it is: ${env:NAME} or ${file:path}."
        )
    return _referred("CLEARWELL_KAFKA_PASSWORD", password, env)


def _referred(setting: str, reference: str, env: Mapping[str, str]) -> str:
    """The value that a reference leads to."""
    value = str(resolve({setting: reference}, env, setting, trusted=True)[0][setting])
    if not value:
        raise ConfigError(f"{setting} refers to {reference}, but nothing is there.")
    return value
