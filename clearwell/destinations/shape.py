"""What every store asks of a clean schema: names it may use, a key it can compare, an event time it can order by."""

from __future__ import annotations

import re
from collections.abc import Collection

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.errors import ConfigError

RAW_TOPIC = "_raw_topic"
RAW_PARTITION = "_raw_partition"
RAW_OFFSET = "_raw_offset"
IDENTITY = (RAW_TOPIC, RAW_PARTITION, RAW_OFFSET)
"""Every stored row says which raw record it came from (invariant 3)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
NAME_RULE = "a letter or _, then letters, digits or _, 63 at most"


def is_name(text: object) -> bool:
    """Whether `text` may become the name of a table, a column or a collection."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_schema(schema: CleanSchema, taken: Collection[str]) -> None:
    """Raise ConfigError unless a table can be made of `schema`; `taken` are the names of the store's own columns."""
    for field in schema.fields:
        if not is_name(field.name):
            raise ConfigError(f'The field "{field.name}" of {schema.stream} can\'t be a column: use {NAME_RULE}.')
        if field.name in taken:
            raise ConfigError(f'The field "{field.name}" of {schema.stream} has a name the store needs: rename it.')
    for name in schema.key:
        if _field(schema, name, "key").clean_type in (Type.JSON, Type.LIST):
            raise ConfigError(f'The key field "{name}" of {schema.stream} is a json or a list: use a scalar as key.')
    if _field(schema, schema.event_time, "event_time").clean_type is not Type.TIMESTAMP:
        raise ConfigError(
            f'The event time "{schema.event_time}" of {schema.stream} must be a timestamp that is not protected: '
            "rows are ordered by it."
        )


def _field(schema: CleanSchema, name: str, role: str) -> Field:
    try:
        return schema.field(name)
    except KeyError:
        raise ConfigError(f'The {role} "{name}" of {schema.stream} is not a field of the clean event.') from None


def must_not_be_null(column: str, table: str, schema: CleanSchema) -> ConfigError:
    """What to raise of a column that somebody has added, and that no row of ours can fill."""
    return ConfigError(
        f'The column "{column}" of the table "{table}" must not be null but the contract {schema.stream} '
        f"v{schema.version} has no such field: give it a default, or drop NOT NULL."
    )
