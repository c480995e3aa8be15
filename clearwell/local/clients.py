"""Files by which other programs log in to the embedded servers, so that nobody copies a password by hand.

In `clients` of the data folder, for its owner alone, written at each start:

    kafka.properties        Java's tools: `kafka-console-consumer.sh --command-config FILE`
    librdkafka.properties   kcat and confluent-kafka: `kcat -F FILE -L`
    pgpass                  libpq: `PGPASSFILE=FILE psql …`
    mongo.url               `MongoClient(Path(FILE).read_text())`
"""

from __future__ import annotations

from pathlib import Path

from clearwell.local.passwords import write_private
from clearwell.local.servers import SERVER_KINDS
from clearwell.settings import Endpoints

FOLDER = "clients"


def write(home: Path, endpoints: Endpoints) -> None:
    """Write the files of all servers."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    for kind in SERVER_KINDS.values():
        for name, text in kind.files(endpoints).items():
            write_private(folder / name, text)
