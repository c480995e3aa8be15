"""The contract that a connector's events are for, as it is published."""

from __future__ import annotations

from clearwell.contract.model import Contract
from clearwell.errors import ClearwellError, ContractError, Retryable
from clearwell.registry import Registry, contracts


def published_contract(registry: Registry, stream: str) -> Contract:
    """What is published of a stream now.

    Raises Retryable while nothing is: it may be at any moment, and the collector then begins anew at once. Raises
    ContractError where only a newer release can read it.
    """
    try:
        with registry.session() as session:
            return contracts.get(session, stream).contract()
    except ContractError:
        raise
    except ClearwellError as error:
        if error.code == "not_published":
            raise Retryable(str(error)) from None
        raise
