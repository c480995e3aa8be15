"""Makes the collection of a stream, or widens its validator by added fields; anything else is a sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pymongo import errors
from pymongo.database import Database

from clearwell.contract.model import CleanSchema
from clearwell.destinations.mongo.documents import type_name, validator
from clearwell.destinations.mongo.positions import COLLECTION
from clearwell.errors import ConfigError

log = logging.getLogger(__name__)

_NAMESPACE_EXISTS = 48


def prepare(database: Database[dict[str, Any]], schema: CleanSchema, collection: str) -> None:
    """Create `collection` for `schema`, or let it hold the fields it lacks.

    What a collection was made for is kept beside the positions. Raises ConfigError when a field has another type, the
    key differs, or the collection is not one of ours.
    """
    records = database[COLLECTION]
    record_id = f"collection/{collection}"
    fields = {field.name: type_name(field) for field in schema.fields}
    declared = {"key": list(schema.key), "fields": fields}
    known: Mapping[str, Any] | None = records.find_one({"_id": record_id})
    if known is None:
        if database[collection].find_one({}, {"_id": 1}) is not None:
            raise ConfigError(
                f'The collection "{collection}" exists and Clearwell did not make it: name another one in the route.'
            )
        records.update_one({"_id": record_id}, {"$setOnInsert": declared}, upsert=True)
        known = records.find_one({"_id": record_id}) or declared
    _check(known, schema, collection)
    added = {f"fields.{name}": type_ for name, type_ in fields.items() if name not in known["fields"]}
    if added:
        records.update_one({"_id": record_id}, {"$set": added})
    _set_validator(database, schema, collection)


def is_there(database: Database[dict[str, Any]], collection: str) -> bool:
    """Whether the collection is there, and was made by `prepare`: one that a bare insert made has no validator."""
    collections = list(database.list_collections(filter={"name": collection}))
    return bool(collections) and bool(collections[0].get("options", {}).get("validator"))


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
        known_type = known["fields"].get(field.name, type_name(field))
        if known_type != type_name(field):
            raise ConfigError(
                f'The field "{field.name}" of the collection "{collection}" is {known_type} but the contract {version} '
                f"makes it {type_name(field)}: a changed type needs a new collection in the route."
            )


def _set_validator(database: Database[dict[str, Any]], schema: CleanSchema, collection: str) -> None:
    try:
        database.create_collection(collection, validator=validator(schema), check_exists=False)
        return
    except errors.OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
    set_now = _validator_of(database, collection)
    told = _require_foreign(set_now, schema, collection)
    if told is not None:
        raise told
    made = _beside(set_now, schema)
    if made != set_now:
        if set(set_now) - {"$jsonSchema"} or not _is_ours(set_now):
            log.warning('The validator of the collection "%s" was changed by others: it is set anew.', collection)
        database.command("collMod", collection, validator=made)


def changed(database: Database[dict[str, Any]], schema: CleanSchema, collection: str) -> ConfigError | None:
    """What to raise of a validator that is not as `prepare` left it, and so refuses documents for no fault of theirs.

    None where it is.
    """
    set_now = _validator_of(database, collection)
    told = _require_foreign(set_now, schema, collection)
    if told is None and set_now != _beside(set_now, schema):
        told = ConfigError(
            f'The validator of the collection "{collection}" was changed by others, and refuses documents of '
            f"{schema.stream} v{schema.version}: start the deliverer again, which sets it anew, or name another "
            "collection in the route."
        )
    return told


def _validator_of(database: Database[dict[str, Any]], collection: str) -> dict[str, Any]:
    collections = list(database.list_collections(filter={"name": collection}))
    options: dict[str, Any] = collections[0].get("options", {}) if collections else {}
    validator_now: dict[str, Any] = options.get("validator") or {}
    return validator_now


def _beside(set_now: Mapping[str, Any], schema: CleanSchema) -> dict[str, Any]:
    """Our validator, with the fields of other versions: two that share a collection do not undo each other."""
    made = validator(schema)
    others = set_now.get("$jsonSchema", {}).get("properties", {})
    made["$jsonSchema"]["properties"] = others | made["$jsonSchema"]["properties"]
    return made


def _is_ours(set_now: Mapping[str, Any]) -> bool:
    """Whether it says no more than that fields have types, and that the key and our own fields must be there."""
    rules = set_now.get("$jsonSchema", {})
    kinds = [set(rule) for rule in rules.get("properties", {}).values()]
    return set(rules) <= {"bsonType", "required", "properties"} and all(kind <= {"bsonType"} for kind in kinds)


def _require_foreign(set_now: Mapping[str, Any], schema: CleanSchema, collection: str) -> ConfigError | None:
    """A field that must be there and that no document of ours has: it would refuse every one of them."""
    ours = validator(schema)["$jsonSchema"]["properties"]
    for name in set_now.get("$jsonSchema", {}).get("required", ()):
        if name not in ours and name != "_id":
            return ConfigError(
                f'The validator of the collection "{collection}" demands a field "{name}", which the contract '
                f"{schema.stream} v{schema.version} has not: take it out of the validator's `required`, or name "
                "another collection in the route."
            )
    return None
