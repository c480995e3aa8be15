"""A webhook: clean events sent to a URL, signed, each with an id that stays the same when it is sent again.

A receiver can't be asked what it has, so positions are kept in the platform's Postgres, after the receiver's answer: at
least once. After a crash the events of the last batch are sent again, under the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from msgspec import Meta

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.http.options import HttpOptions
from clearwell.destinations.http.receiver import Receiver
from clearwell.destinations.http.requests import Requests
from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, DestinationConfig, DestinationContext, Start
from clearwell.destinations.shape import IDENTITY, check_schema
from clearwell.source import SECRET, SECRET_IN_URL, PemFile


class HttpConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which URL events are sent to, how they are signed and packed.

    A request is signed as Standard Webhooks says and holds CloudEvents: one as it is, with `ce-` headers, or a JSON
    array of them (`application/cloudevents-batch+json`). `webhook-id`, and the `id` of each event, stay the same
    when it is sent again: remember them, and drop what you have. Answer 2xx when you have the events. 408, 425,
    429, 5xx and silence are tried again, after Retry-After; 401, 403, 404, 405, 410 and redirects stop the
    deliverer; any other 4xx refuses the event, which becomes a dead letter. Requests of a partition go out one
    after the other, in order.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(description="https:// or http://; all of it may be a reference, where its path is a secret."),
    ]
    secrets: Annotated[
        list[Annotated[str, SECRET]],
        Meta(
            min_length=1,
            max_length=4,
            description="`whsec_…` as the receiver knows it; with several each signs, so that the receiver can "
            "change from one to the next.",
        ),
    ]
    headers: Annotated[dict[str, str], Meta(description="sent with each request.")] = {}
    secret_headers: Annotated[
        dict[str, Annotated[str, SECRET]],
        Meta(description="the same, such as Authorization, for values that are secrets."),
    ] = {}
    batch_events: Annotated[
        int, Meta(ge=1, le=10_000, description="the most events of a request; with 1 each is sent by itself.")
    ] = 1
    ca: PemFile | None = None
    timeout: Annotated[float, Meta(gt=0, le=600, description="seconds that a receiver may be silent.")] = 30.0

    def __repr__(self) -> str:  # invariant 10
        return f"HttpConfig(batch_events={self.batch_events})"


class HttpDestination:
    """One receiver; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "http"
    Config: ClassVar[type[DestinationConfig]] = HttpConfig
    Options: ClassVar[type[RouteOptions]] = HttpOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = True

    def __init__(self, config: HttpConfig, schema: CleanSchema, positions: str, group: str) -> None:
        """`positions` is the URL of the platform's Postgres. Raises ConfigError when a part of `config` can't be."""
        check_schema(schema, IDENTITY)
        self._most = config.batch_events
        self._requests = Requests(schema, config.secrets)
        headers = config.headers | config.secret_headers
        self._receiver = Receiver(config.url, headers, config.ca, config.timeout)
        self._positions = PlatformPositions(positions, group)
        self._received: dict[tuple[str, int], set[int]] = {}
        """Clean offsets that the receiver has, of batches whose position was not moved yet."""

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered receiver."""
        return cls(context.config, context.schema, context.settings.postgres, context.group)

    def open(self) -> None:
        """Connect to both; no request is sent before there is an event."""
        self.reach()
        self._positions.create()

    def reach(self) -> None:
        """Connect to the receiver."""
        self._receiver.reach()

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Goes on from the last batch that was noted."""
        self._received.pop((topic_id, partition), None)
        return self._positions.claim(topic_id, partition, generation)

    def write(self, batch: CleanBatch) -> None:
        """Send what the receiver has not said it has, then move the position.

        A batch that is written again after Retryable, or in halves after RowsRefused, goes on where it stopped.
        """
        if self._positions.is_written(batch):
            return
        received = self._received.setdefault((batch.topic_id, batch.partition), set())
        left = [index for index, offset in enumerate(batch.offsets) if offset not in received]
        for start in range(0, len(left), self._most):
            self._send(batch, left[start : start + self._most])
            received.update(batch.offsets[index] for index in left[start : start + self._most])
        self._positions.advance(batch)
        received.difference_update(batch.offsets)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        return self._positions.accounts(topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """The receiver gets the events again, under the same ids."""
        self._positions.rewind(topic_id, starts)

    def row_count(self) -> None:
        """Only the receiver knows."""

    def close(self) -> None:
        """Close both connections."""
        self._receiver.close()
        self._positions.close()

    def _send(self, batch: CleanBatch, indexes: Sequence[int]) -> None:
        what = (
            f"{len(indexes)} events of {batch.coordinates()}"
            if len(indexes) > 1
            else f"an event of {batch.coordinates()}"
        )
        make = self._requests
        request = make.single(batch, indexes[0]) if self._most == 1 else make.array(batch, indexes)
        self._receiver.post(request, what)
