"""What the environment says of Kafka's security: what is refused, and that no secret is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.errors import ConfigError
from clearwell.kafka.security import KafkaSecurity, security_of

ADDRESS = "kafka.example:9093"
SASL = {
    "CLEARWELL_KAFKA": ADDRESS,
    "CLEARWELL_KAFKA_SECURITY": "sasl_plaintext",
    "CLEARWELL_KAFKA_USER": "clearwell",
    "CLEARWELL_KAFKA_PASSWORD": "${env:SECRET}",
    "SECRET": "canary",
}

WRONG = {
    "no such protocol": ({"CLEARWELL_KAFKA_SECURITY": "sasl_tls"}, r"there is only plaintext, ssl, .*Did you mean"),
    "no such mechanism": ({"CLEARWELL_KAFKA_MECHANISM": "GSSAPI"}, "there is only SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"),
    "no user": ({"CLEARWELL_KAFKA_USER": ""}, "CLEARWELL_KAFKA_USER is not set"),
    "user from nowhere": ({"CLEARWELL_KAFKA_USER": "${env:NOBODY}"}, "refers to .*NOBODY"),
    "no password": ({"CLEARWELL_KAFKA_PASSWORD": ""}, "must say where the password is"),
    "the password itself": ({"CLEARWELL_KAFKA_PASSWORD": "canary"}, "must say where the password is"),
    "part of a password": ({"CLEARWELL_KAFKA_PASSWORD": "canary${env:SECRET}"}, "must say where the password is"),
    "password from nowhere": (
        {"CLEARWELL_KAFKA_PASSWORD": "${file:/no/such}"},
        r"refers to .*/no/such\}, which cannot be read",
    ),
    "empty password": ({"SECRET": ""}, "nothing is there"),
    "no authorities": (
        {"CLEARWELL_KAFKA_SECURITY": "ssl", "CLEARWELL_KAFKA_CA": "/no/such"},
        "CLEARWELL_KAFKA_CA, /no/such, can't be read",
    ),
    "no server": ({"CLEARWELL_KAFKA": ""}, "CLEARWELL_KAFKA names no server"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_without_a_secret(name: str) -> None:
    changed, said = WRONG[name]
    with pytest.raises(ConfigError, match=said) as caught:
        security_of(ADDRESS, SASL | changed)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_references_lead_to_user_and_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n")
    env = SASL | {
        "CLEARWELL_KAFKA_PASSWORD": f"${{file:{tmp_path / 'password'}}}",
        "CLEARWELL_KAFKA_USER": "${env:NAME}",
        "NAME": "somebody",
    }
    found = security_of(ADDRESS, env)
    assert (found.user, found.password) == ("somebody", "from a file")
    assert found.client_options()["sasl_mechanism"] == "SCRAM-SHA-512"
    assert "from a file" not in repr(found)


def test_any_other_kafka_never_sees_the_password() -> None:
    assert security_of(ADDRESS, SASL).password == "canary"
    assert security_of("127.0.0.1:9092", SASL) == KafkaSecurity()
    assert security_of(ADDRESS, {}) == KafkaSecurity()
