"""Makes the index of a stream, or widens its mapping by added fields; anything else is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy import exceptions as errors

from clearwell.contract.model import CleanSchema
from clearwell.destinations.opensearch.documents import properties
from clearwell.errors import ConfigError

_KEY = "clearwell_key"
_EXISTS = "resource_already_exists_exception"


def prepare(client: OpenSearch, schema: CleanSchema, index: str) -> None:
    """Create `index` for `schema`, or add the fields it lacks.

    Raises ConfigError when a field has another type, the key differs, or the index is not one of ours.
    """
    declared = properties(schema)
    create(client, index, {"dynamic": "strict", "_meta": {_KEY: list(schema.key)}, "properties": declared})
    (existing,) = client.indices.get_mapping(index=index).values()
    mapping: Mapping[str, Any] = existing["mappings"]
    _check(mapping, declared, schema, index)
    added = {name: of for name, of in declared.items() if name not in mapping["properties"]}
    if added:
        client.indices.put_mapping(index=index, body={"properties": added})


def create(client: OpenSearch, index: str, mapping: Mapping[str, Any]) -> None:
    """Where it is missing; shards, replicas and the rest come from the server's index templates."""
    if client.indices.exists(index=index):
        return
    try:
        client.indices.create(index=index, body={"mappings": mapping})
    except errors.RequestError as error:
        if error.error != _EXISTS:  # another deliverer was quicker
            raise


def _check(mapping: Mapping[str, Any], declared: Mapping[str, Any], schema: CleanSchema, index: str) -> None:
    version = f"{schema.stream} v{schema.version}"
    key = mapping.get("_meta", {}).get(_KEY)
    if key is None:
        raise ConfigError(
            f'The index "{index}" exists and Clearwell did not make it: name another one in the route. '
            "For shards and replicas of your own use an index template."
        )
    if tuple(key) != schema.key:
        raise ConfigError(
            f'The index "{index}" has the key ({", ".join(key)}) but the contract {version} has '
            f"({', '.join(schema.key)}): name another index in the route, and fill it by a backfill."
        )
    for name, of in declared.items():
        is_now = _type_of(mapping["properties"].get(name, of))
        if is_now != _type_of(of):
            raise ConfigError(
                f'The field "{name}" of the index "{index}" is {is_now} but the contract {version} makes it '
                f"{_type_of(of)}: a changed type needs a new index in the route."
            )


def _type_of(of: Mapping[str, Any]) -> str:
    """The type that the contract gave a field, or the index's own word for it; an object's is json."""
    own = of.get("type", "object")
    return str(of.get("meta", {}).get("contract", "json" if own == "object" else own))
