"""OpenSearch and Elasticsearch: a document a key, replaced by a script only when it is older, then the position.

Rows and position are no transaction. It is still safe (invariant 4): rows are repeated, never lost, when the process
dies in between, and a repeated row changes nothing; a zombie that passed the fence a moment before it was closed writes
rows of the same log, which the guard keeps from replacing newer ones, and can't move the position.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from msgspec import Meta
from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.deadline import call_seconds
from clearwell.destinations.newest import make_newest
from clearwell.destinations.opensearch import errors as opensearch_errors
from clearwell.destinations.opensearch import guard as opensearch_guard
from clearwell.destinations.opensearch import index as opensearch_index
from clearwell.destinations.opensearch import positions as opensearch_positions
from clearwell.destinations.opensearch.documents import TAKEN, document_maker
from clearwell.destinations.opensearch.egress import OpenSearchEgressConnection
from clearwell.destinations.opensearch.options import OpenSearchOptions
from clearwell.destinations.protocol import (
    Accounts,
    Claim,
    CleanBatch,
    DestinationConfig,
    DestinationContext,
    RowReason,
    RowsRefused,
    Start,
)
from clearwell.destinations.shape import check_schema
from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError, ConfigError
from clearwell.source import PATH, SECRET_IN_URL

_INDEX = re.compile(r"[a-z][a-z0-9_-]{0,199}")
_INDEX_RULE = "a small letter, then small letters, digits, _ or -, 200 at most"
_PORTS = {"http": 9200, "https": 443}  # the client's own

# It warns of each document that is not there yet, and below that quotes what it sends (invariant 9).
logging.getLogger("opensearch").setLevel(logging.ERROR)


class OpenSearchConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which OpenSearch, or Elasticsearch from version 7 on.

    The user needs the rights to create, read and write the streams' indexes and the index `clearwell_positions`.
    Inline scripts in painless must be allowed, as they are by default. Shards and replicas come from index
    templates.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(description="`https://user:${env:CLEARWELL_SECRET_OS}@host:9200`; a password must be a reference."),
    ]
    ca: Annotated[
        str | None,
        PATH,
        Meta(description="a file of certificates that the server's is checked by; left out, the usual ones."),
    ] = None

    def __repr__(self) -> str:  # invariant 10
        return f"OpenSearchConfig(ca={self.ca!r})"


class OpenSearchDestination:
    """One index of one cluster; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "opensearch"
    Config: ClassVar[type[DestinationConfig]] = OpenSearchConfig
    Options: ClassVar[type[RouteOptions]] = OpenSearchOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = False

    def __init__(self, config: OpenSearchConfig, schema: CleanSchema, index: str, group: str) -> None:
        """Raises ConfigError when the URL can't be read, or a name or type can't be; does no I/O."""
        if not _INDEX.fullmatch(index) or index == opensearch_positions.INDEX:
            raise ConfigError(f'"{index}" can\'t be the name of an index: use {_INDEX_RULE}.')
        check_schema(schema, TAKEN)
        self._host, self._port = _address(config.url)
        self._server = f"OpenSearch at {self._host}:{self._port}"
        self._config, self._schema, self._index, self._group = config, schema, index, group
        self._document = document_maker(schema)
        self._client: OpenSearch | None = None

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered cluster."""
        return cls(context.config, context.schema, context.options.index or context.schema.stream, context.group)

    def open(self) -> None:
        """Create or widen the index, and make that of the positions where it is missing."""
        with self._talking(f'make or read the index "{self._index}"') as client:
            opensearch_index.prepare(client, self._schema, self._index)
            opensearch_positions.prepare(client)

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A write of the previous owner that is under way may still add rows; it can't move the position."""
        with self._talking(f"claim partition {partition}") as client:
            return opensearch_positions.claim(client, self._group, topic_id, partition, generation)

    def write(self, batch: CleanBatch) -> None:
        """After Retryable the same batch may be written again: rows that are there already are left as they are."""
        with self._talking(f"write {batch.coordinates()}") as client:
            known = opensearch_positions.behind(client, self._group, batch)
            if known is None:
                return
            if batch.rows:
                self._store(client, batch)
            opensearch_positions.advance(client, known, batch)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        with self._talking("read the positions") as client:
            return opensearch_positions.accounts(client, self._group, topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """Partition by partition."""
        with self._talking("set the positions back") as client:
            for start in starts:
                opensearch_positions.rewind(client, self._group, topic_id, start)

    def is_there(self) -> bool:
        """Whether the index is."""
        with self._talking(f'look for the index "{self._index}"') as client:
            return bool(client.indices.exists(index=self._index))

    def row_count(self) -> int:
        """Counts the documents, those of this moment too; 0 when there is no index yet."""
        with self._talking(f'count the documents of "{self._index}"') as client:
            client.indices.refresh(index=self._index, params={"ignore_unavailable": "true"})
            return int(client.count(index=self._index, params={"ignore_unavailable": "true"})["count"])

    def close(self) -> None:
        """Close the client's connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _store(self, client: OpenSearch, batch: CleanBatch) -> None:
        documents = self._documents(batch)
        if not client.indices.exists(index=self._index):  # else the server makes one of its own, with any fields
            raise ConfigError(
                f'The index "{self._index}" is gone from {self._server}: start the deliverer again to make it.'
            )
        for body in opensearch_guard.requests(documents):
            answer: dict[str, Any] = client.bulk(index=self._index, body=body)
            if answer["errors"]:
                raise self._worst(answer["items"], f"write {batch.coordinates()}")

    def _worst(self, items: Sequence[dict[str, Any]], doing: str) -> ClearwellError:
        """What the failures of a bulk request mean together: a refused row counts only where nothing else failed."""
        failed = [item["update"] for item in items if item["update"]["status"] >= 300]
        verdicts = [
            opensearch_errors.by_status(failure["status"], failure.get("error"), self._server, doing)
            for failure in failed
        ]
        return min(verdicts, key=lambda failure: isinstance(failure, RowsRefused))

    def _documents(self, batch: CleanBatch) -> list[tuple[str, bytes]]:
        try:
            return make_newest(batch, self._schema, self._document)
        except UnicodeEncodeError:
            raise RowsRefused(RowReason.WRONG_TYPE, f"A text is not Unicode in {batch.coordinates()}.") from None
        except ValueError:
            raise RowsRefused(RowReason.CONSTRAINT, f"A row has no key in {batch.coordinates()}.") from None

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[OpenSearch]:
        """The client, which mends its connections by itself; what it raises becomes ours."""
        try:
            if self._client is None:
                self._client = self._connect()
            yield self._client
        except OpenSearchException as error:
            raise opensearch_errors.translate(error, self._server, doing) from None

    def _connect(self) -> OpenSearch:
        require_allowed(self._host, self._port)
        # The deliverer repeats what failed, with backoff: the client must not.
        return OpenSearch(
            [self._config.url],
            ca_certs=self._config.ca,
            timeout=call_seconds(),
            max_retries=0,
            connection_class=OpenSearchEgressConnection,
        )


def _address(url: str) -> tuple[str, int]:
    """Host and port. Raises ConfigError when it is no HTTP URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = None, 0
    if not host or not port:
        raise ConfigError("`url` is no HTTP URL: write https://user:password@host:9200.")
    return host, port
