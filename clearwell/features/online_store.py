"""Feast's online store over our tables: what `feature_store.yaml` names.

Reads what deliverers wrote, windows included, and writes what is pushed through Feast. What a view is comes with it, in
a tag of the registry's (`clearwell.features.view_text`): a server of features needs no contracts.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from feast import Entity, RepoConfig
from feast import FeatureView as FeastView
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.repo_config import FeastConfigBaseModel
from pydantic import SecretStr

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.read import OnlineRow, Session, read_rows, translate_errors
from clearwell.destinations.features.table import make_tables
from clearwell.errors import ConfigError
from clearwell.features import feast_values
from clearwell.features.connections import ConnectionPool
from clearwell.features.feast_objects import VIEW_TAG
from clearwell.features.push import Row, aware, check_times, write_pushed
from clearwell.features.view_text import decode_view

Answer = tuple[datetime | None, dict[str, feast_values.Value] | None]
Pushed = tuple[EntityKey, dict[str, feast_values.Value], datetime, datetime | None]


class ClearwellOnlineStoreConfig(FeastConfigBaseModel):
    """What stands under `online_store` in `feature_store.yaml`: the URL of the PostgreSQL that holds the views."""

    type: Literal["clearwell.features.online_store.ClearwellOnlineStore"]
    postgres: SecretStr


class ClearwellOnlineStore(OnlineStore):
    """One for each `FeatureStore`; thread-safe. Raises ConfigError when a person must act, else Retryable."""

    _versioned_read_supported = False  # `view@v2`; else Feast imports all its other stores to find that out

    def __init__(self) -> None:
        self._sessions: ConnectionPool | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads and writes, each on a thread."""
        return SupportedAsyncMethods(read=True, write=True)

    def online_read(
        self,
        config: RepoConfig,
        table: FeastView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """The values as of now and the time of the newest event; (None, None) of an entity unknown or past its ttl."""
        view = _view(table.tags.get(VIEW_TAG), table.name, tuple(requested_features or ()))
        keys = [_key(view, key) for key in entity_keys]
        rows = self._run(config, view, lambda session: read_rows(session, view, keys))
        encoders = _encoders(view)
        return [_answer(row, encoders) for row in rows]

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeastView,
        data: list[Pushed],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Upsert; a row is replaced only by a newer one (see `push`). All rows are written, or none."""
        view = _view(table.tags.get(VIEW_TAG), table.name, ())
        rows = [_row(view, entry) for entry in data]
        check_times(view, (row[-2] for row in rows))
        self._run(config, view, lambda session: write_pushed(session, view, rows))
        if progress is not None:
            progress(len(data))

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeastView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Answer]:
        """As `online_read`, on a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeastView,
        data: list[Pushed],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """As `online_write_batch`, on a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeastView],
        tables_to_keep: Sequence[FeastView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make or widen the tables of views; those of views that go stay, for they are their deliverer's."""
        for table in tables_to_keep:
            view = _view(table.tags.get(VIEW_TAG), table.name, ())
            self._run(config, view, functools.partial(make_tables, view=view))

    def teardown(self, config: RepoConfig, tables: Sequence[FeastView], entities: Sequence[Entity]) -> None:
        """Let go of connections. The tables stay: deliverers write to them, with Feast or without."""
        self.disconnect()

    async def close(self) -> None:
        """Let go of connections."""
        self.disconnect()

    def disconnect(self) -> None:
        """Let go of the connections that no thread uses; the next call makes a new one."""
        if self._sessions is not None:
            self._sessions.close()

    def _run(self, config: RepoConfig, view: FeatureView, work: Callable[[Session], Any]) -> Any:
        if self._sessions is None:
            self._sessions = ConnectionPool(config.online_store.postgres.get_secret_value())
        with translate_errors(self._sessions.server, view):
            return self._sessions.run(work)


@functools.lru_cache(1_024)
def _view(text: str | None, name: str, features: tuple[str, ...]) -> FeatureView:
    """The view that the tag `text` spells out, with these features alone (none: all of them)."""
    if text is None:
        raise ConfigError(
            f'The view "{name}" is not of a contract, and Clearwell\'s online store holds no other: declare it by a '
            "route, or keep it in another project of Feast."
        )
    view = decode_view(text)
    return replace(
        view, features=tuple(feature for feature in view.features if not features or feature.name in features)
    )


@functools.lru_cache(1_024)
def _encoders(view: FeatureView) -> Sequence[tuple[str, Callable[[Any], feast_values.Value]]]:
    return [(feature.name, feast_values.encoder(feature)) for feature in view.features]


def _key(view: FeatureView, key: EntityKey) -> tuple[Any, ...]:
    values = dict(zip(key.join_keys, key.entity_values, strict=True))
    missing = [key_field.name for key_field in view.entity.keys if key_field.name not in values]
    if missing:
        raise ConfigError(
            f'The view "{view.name}" needs {", ".join(missing)} to tell which {view.entity.name} is meant.'
        )
    return tuple(
        feast_values.key_value(values[key_field.name], key_field, view.entity.name) for key_field in view.entity.keys
    )


def _answer(row: OnlineRow, encoders: Sequence[tuple[str, Callable[[Any], feast_values.Value]]]) -> Answer:
    values = row.values
    if row.expired or (row.event_time is None and all(value is None for value in values.values())):
        return None, None
    return row.event_time, {name: encode(values[name]) for name, encode in encoders}


def _row(view: FeatureView, pushed: Pushed) -> Row:
    key, values, time, created = pushed
    for feature in view.aggregated:
        if values.get(feature.name, feast_values.NULL).WhichOneof("val") is not None:
            raise ConfigError(
                f'"{feature.name}" of the view "{view.name}" is over a window, made of the events of {view.stream}: '
                "it can't be written. Give null for it."
            )
    plain = [
        feast_values.decoded(
            values.get(feature.name, feast_values.NULL),
            feature.type,
            feature.source.items,
            f'"{feature.name}" of "{view.name}"',
        )
        for feature in view.plain
    ]
    entity = _key(view, key)
    if None in entity:
        raise ConfigError(f'A row for the view "{view.name}" does not say which {view.entity.name} it is of.')
    return (*entity, *plain, aware(time), None if created is None else aware(created))
