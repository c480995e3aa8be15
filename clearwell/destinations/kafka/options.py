"""What a route to a topic of another cluster says."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.route_options import RouteOptions, Topic


class KafkaTopicOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The topic."""

    needs_name: ClassVar[bool] = True
    container: ClassVar[str | None] = "topic"
    keeps_types: ClassVar[bool] = False

    topic: Annotated[
        Topic | None,
        Meta(description="a topic that is there; default: clean.<stream>.v<version>, as in Clearwell's own cluster."),
    ] = None
