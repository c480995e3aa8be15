"""What a route to a feature view says; what it means is the business of `clearwell.contract.feature_language`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from clearwell.contract.feature_language import OPTIONS
from clearwell.contract.route_options import RouteOptions


class FeaturesOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the view is, in the words of the contract."""

    needs_name: ClassVar[bool] = True

    entity: Annotated[Any, Meta(description=OPTIONS["entity"].says)]
    features: Annotated[dict[str, Any], Meta(description=OPTIONS["features"].says)]
    ttl: Annotated[str | None, Meta(description=OPTIONS["ttl"].says)] = None
    lateness: Annotated[str | int | None, Meta(description=OPTIONS["lateness"].says)] = None
    ahead: Annotated[str | int | None, Meta(description=OPTIONS["ahead"].says)] = None
    allow_protected: Annotated[str | list[str] | None, Meta(description=OPTIONS["allow_protected"].says)] = None
