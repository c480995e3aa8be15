"""Makes the collection of a stream, or widens its validator by added fields; anything else is a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import errors
from pymongo.database import Database

from clearwell.contract.model import CleanSchema
from clearwell.destinations.mongo.documents import type_name, validator
from clearwell.destinations.mongo.positions import COLLECTION
from clearwell.errors import ConfigError

_NAMESPACE_EXISTS = 48


def prepare(database: Database[dict[str, Any]], schema: CleanSchema, collection: str) -> None:
    """Create `collection` for `schema`, or let it hold the fields it lacks.

    What a collection was made for is kept beside the positions. Raises ConfigError when a field has another type, the
    key differs, or the collection is not one of ours.
    """
    records = database[COLLECTION]
    record_id = f"collection/{collection}"
    fields = {field.name: type_name(field) for field in schema.fields}
    wanted = {"key": list(schema.key), "fields": fields}
    known: Mapping[str, Any] | None = records.find_one({"_id": record_id})
    if known is None:
        if database[collection].find_one({}, {"_id": 1}) is not None:
            raise ConfigError(
                f'The collection "{collection}" exists and Clearwell did not make it: name another one in the route.'
            )
        records.update_one({"_id": record_id}, {"$setOnInsert": wanted}, upsert=True)
        known = records.find_one({"_id": record_id}) or wanted
    _check(known, schema, collection)
    added = {f"fields.{name}": type_ for name, type_ in fields.items() if name not in known["fields"]}
    if added:
        records.update_one({"_id": record_id}, {"$set": added})
    _set_validator(database, schema, collection)


def is_there(database: Database[dict[str, Any]], collection: str) -> bool:
    """Whether the collection is there, and was made by `prepare`: one that a bare insert made has no validator."""
    found = list(database.list_collections(filter={"name": collection}))
    return bool(found) and bool(found[0].get("options", {}).get("validator"))


def is_embedded(database: Database[dict[str, Any]]) -> bool:
    """Whether this is the embedded server, which interprets the validator anew for each document: 170 µs at 24 fields.

    There our own writes, typed by the contract already, go round it; others' don't.
    """
    return "secantusVersion" in database.client.admin.command("buildInfo")


def _check(known: Mapping[str, Any], schema: CleanSchema, collection: str) -> None:
    version = f"{schema.stream} v{schema.version}"
    if tuple(known["key"]) != schema.key:
        raise ConfigError(
            f'The collection "{collection}" has the key ({", ".join(known["key"])}) but the contract {version} has '
            f"({', '.join(schema.key)}): name another collection in the route, and fill it by a backfill."
        )
    for field in schema.fields:
        found = known["fields"].get(field.name, type_name(field))
        if found != type_name(field):
            raise ConfigError(
                f'The field "{field.name}" of the collection "{collection}" is {found} but the contract {version} '
                f"makes it {type_name(field)}: a changed type needs a new collection in the route."
            )


def _set_validator(database: Database[dict[str, Any]], schema: CleanSchema, collection: str) -> None:
    wanted = validator(schema)
    try:
        database.create_collection(collection, validator=wanted, check_exists=False)
        return
    except errors.OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
    (found,) = database.list_collections(filter={"name": collection})
    set_now = found.get("options", {}).get("validator", {})
    # Fields of other versions stay checked, so that two versions that share a collection do not undo each other.
    others = set_now.get("$jsonSchema", {}).get("properties", {})
    wanted["$jsonSchema"]["properties"] = others | wanted["$jsonSchema"]["properties"]
    if wanted != set_now:
        database.command("collMod", collection, validator=wanted)
