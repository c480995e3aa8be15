"""What a route to a webhook says."""

from __future__ import annotations

from typing import ClassVar

from clearwell.contract.route_options import RouteOptions


class HttpOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing: the URL is that of the registered destination."""

    needs_name: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = False
