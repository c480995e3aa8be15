"""How a test's own client of Kafka gets in: `KafkaProducer(**login(address), …)`, of kafka-python and of aiokafka."""

from __future__ import annotations

from typing import Any

from clearwell.kafka.security import security_of


def login(bootstrap: str) -> dict[str, Any]:
    """Address and, of the embedded server, user and password, as keywords of a client."""
    return {"bootstrap_servers": bootstrap.split(","), **security_of(bootstrap).client_options()}


def login_options(bootstrap: str) -> dict[str, str]:
    """The same as options of our own source and destination `kafka`, with the password itself."""
    security = security_of(bootstrap)
    assert security.user is not None and security.password is not None
    return {
        "bootstrap": bootstrap,
        "security": security.protocol.lower(),
        "mechanism": security.mechanism or "",
        "username": security.user,
        "password": security.password,
    }
