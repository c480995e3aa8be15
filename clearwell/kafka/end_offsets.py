"""Where many topics end, in one request a broker: what wakes jobs that sleep, and what lag is computed from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest

from clearwell.errors import Retryable
from clearwell.kafka.consumer_options import never_create_topics
from clearwell.kafka.security import security_of

_LATEST = -1
_READ_COMMITTED = 1
_SECONDS = 10.0
"""How long one request may take (invariant 12)."""


class EndOffsets:
    """Asks one cluster again and again; 1,200 partitions cost 13 ms of processor time. Belongs to one event loop."""

    def __init__(self, bootstrap: str) -> None:
        """`bootstrap` is "host:port[,host:port]". Connects at the first question."""
        never_create_topics()
        self._bootstrap = bootstrap
        self._client: AIOKafkaClient | None = None
        self._topics: frozenset[str] = frozenset()

    async def ask(self, topics: Collection[str]) -> dict[str, Mapping[int, int]]:
        """By topic and partition, the offset after the last record that may be read; without topics that are unknown.

        Raises Retryable when Kafka does not answer; the next call connects anew.
        """
        try:
            client = await self._connected(frozenset(topics))
            ends: dict[str, dict[int, int]] = defaultdict(dict)
            for node, asked in self._by_leader(client, topics).items():
                request = OffsetRequest(-1, _READ_COMMITTED, list(asked.items()))
                for topic, partitions in (await client.send(node, request)).topics:
                    for partition, error, _, offset, *_ in partitions:
                        if not error:
                            ends[topic][partition] = offset
            return dict(ends)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Retryable(f"Kafka did not say where its topics end ({type(error).__name__}).") from None

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        self._topics = frozenset()
        if client is not None:
            await client.close()

    async def _connected(self, topics: frozenset[str]) -> AIOKafkaClient:
        if self._client is None:
            login = security_of(self._bootstrap).client_options()
            client = AIOKafkaClient(
                bootstrap_servers=self._bootstrap,
                request_timeout_ms=int(_SECONDS * 1000),
                metadata_max_age_ms=5_000,
                **login,
            )
            await client.bootstrap()
            self._client = client
        if not topics <= self._topics:
            self._topics |= topics
            await self._client.set_topics(self._topics)
        return self._client

    def _by_leader(self, client: AIOKafkaClient, topics: Collection[str]) -> dict[int, dict[str, list[Any]]]:
        asked: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        cluster = client.cluster
        for topic in topics:
            for partition in cluster.available_partitions_for_topic(topic) or ():
                leader = cluster._partitions[topic][partition].leader  # its public way makes a TopicPartition each
                asked[leader][topic].append((partition, _LATEST))
        return asked
