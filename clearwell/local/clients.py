"""Files by which other programs log in to the embedded servers, so that nobody copies a password by hand.

In `clients` of the data folder, for its owner alone, written at each start:

    kafka.properties        Java's tools: `kafka-console-consumer.sh --command-config FILE`
    librdkafka.properties   kcat and confluent-kafka: `kcat -F FILE -L`
    pgpass                  libpq: `PGPASSFILE=FILE psql …`
    mongo.url               `MongoClient(Path(FILE).read_text())`
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from clearwell.local.passwords import write_private
from clearwell.settings import Endpoints

FOLDER = "clients"


def write(home: Path, endpoints: Endpoints) -> None:
    """Write the files for the servers that are embedded here."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in _files(endpoints).items():
        write_private(folder / name, text)


def _files(endpoints: Endpoints) -> dict[str, str]:
    postgres = urlsplit(endpoints.postgres)
    pgpass = ":".join(
        str(part) for part in (postgres.hostname, postgres.port, "*", postgres.username, postgres.password)
    )
    files = {"pgpass": pgpass + "\n", "mongo.url": endpoints.mongo}
    if endpoints.kafka_password:
        files |= _kafka(endpoints.kafka, endpoints.kafka_user, endpoints.kafka_password)
    return files


def _kafka(address: str, user: str, password: str) -> dict[str, str]:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    same = f"bootstrap.servers={address}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n"
    return {
        "kafka.properties": f'{same}sasl.jaas.config={module} required username="{user}" password="{password}";\n',
        "librdkafka.properties": f"{same}sasl.username={user}\nsasl.password={password}\n",
    }
