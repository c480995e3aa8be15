"""MongoDB's connections, each judged when it is made: members of a replica set are named by the server."""

from __future__ import annotations

from typing import Any

from pymongo.errors import AutoReconnect
from pymongo.synchronous.pool import Pool

from clearwell.egress import require_allowed
from clearwell.errors import ClearwellError


class JudgedPool(Pool):
    """For MongoClient's `_pool_class`. A member that may not be reached looks as one that is away."""

    def connect(self, *args: Any, **more: Any) -> Any:
        """As PyMongo's, to an address that may be reached."""
        host, port = self.address
        if port is not None:  # None: a socket of this machine
            try:
                require_allowed(host, port)
            except ClearwellError as error:
                raise AutoReconnect("may not be reached") from error
        return super().connect(*args, **more)
