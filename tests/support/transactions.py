"""A producer of others that uses transactions: librdkafka's."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Producer

from clearwell.kafka.security import security_of


class KafkaTransaction:
    """One open transaction on a Kafka cluster."""

    def __init__(self, address: str, name: str) -> None:
        options = security_of(address).librdkafka_options()
        self._producer = Producer({"bootstrap.servers": address, "transactional.id": name, **options})
        self._producer.init_transactions(30)
        self._producer.begin_transaction()

    def produce(self, topic: str, partition: int, values: Sequence[bytes]) -> None:
        """All of them acknowledged."""
        for value in values:
            self._producer.produce(topic, value, partition=partition)
        assert self._producer.flush(30) == 0

    def commit(self) -> None:
        """Show the records."""
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        """Show them to nobody."""
        self._producer.abort_transaction(30)
