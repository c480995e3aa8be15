"""Feast's offline store over Parquet files, with a join of our own: what `feature_store.yaml` names.

Feast's own store of files removes rows from a training set that share entity and time, and takes minutes for what takes
a second. Here as many rows go out as come in, in their order, exact in type. Everything else is Feast's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as datasets
from feast import FeatureView, FileSource, OnDemandFeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.dask import DaskOfflineStore, DaskOfflineStoreConfig, DaskRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView as OnDemand
from feast.utils import _get_requested_feature_views_to_features_dict
from pyarrow.fs import FSSpecHandler, PyFileSystem

from clearwell.errors import ConfigError, Hint
from clearwell.features.as_of_join import NOTHING, Numbers, as_of

STORE: Literal["clearwell.features.offline_store.ClearwellOfflineStore"] = (
    "clearwell.features.offline_store.ClearwellOfflineStore"
)

_EXACT = 2**53
"""Whole numbers beyond are not exact as floats, which pandas makes of those with nulls between them."""


class ClearwellOfflineStoreConfig(DaskOfflineStoreConfig):
    """What stands under `offline_store` in `feature_store.yaml`."""

    type: Literal["clearwell.features.offline_store.ClearwellOfflineStore"] = STORE  # type: ignore[assignment]


class ClearwellOfflineStore(DaskOfflineStore):
    """Joins training sets; raises ConfigError when a person must act."""

    supports_filter_by_created_timestamp = False

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **more: Any,
    ) -> RetrievalJob:
        """As Feast's: for each row of `entity_df` the features as of its time. Without a frame it is Feast's own."""
        if entity_df is None:
            return DaskOfflineStore.get_historical_features(
                config, feature_views, feature_refs, entity_df, registry, project, full_feature_names, **more
            )
        if not isinstance(entity_df, pd.DataFrame):
            raise ConfigError("Ask for features by a pandas DataFrame, whose rows are the entities and instants.")
        time = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        requested, _ = _get_requested_feature_views_to_features_dict(
            feature_refs, feature_views, _on_demand(feature_refs, project, registry)
        )

        def evaluate() -> tuple[pd.DataFrame, dict[str, pa.ChunkedArray]]:
            asked = entity_df.reset_index(drop=True)
            asked[time] = pd.to_datetime(asked[time], utc=True)
            features: dict[str, pa.ChunkedArray] = {}
            for view, names in requested.items():
                projection: Any = view.projection
                prefix = f"{projection.name_to_use()}__" if full_feature_names else ""
                for name, column in _joined(asked, time, view, names, str(config.repo_path)).items():
                    if prefix + name in asked.columns or prefix + name in features:
                        raise ConfigError(
                            f'Two columns would be called "{prefix + name}": ask with full_feature_names.'
                        )
                    features[prefix + name] = column
            return asked, features

        return _Job(
            evaluate,
            full_feature_names,
            str(config.repo_path),
            OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entity_df.columns if name != time],
                min_event_timestamp=pd.to_datetime(entity_df[time], utc=True).min(),
                max_event_timestamp=pd.to_datetime(entity_df[time], utc=True).max(),
            ),
        )


class _Job(DaskRetrievalJob):
    """Joins when it is asked for its rows."""

    evaluation_function: Callable[[], tuple[pd.DataFrame, dict[str, pa.ChunkedArray]]]

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        asked, features = self.evaluation_function()
        return pd.concat([asked, *(_series(name, column) for name, column in features.items())], axis=1)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        asked, features = self.evaluation_function()
        table = pa.Table.from_pandas(asked, preserve_index=False)
        for name, column in features.items():
            table = table.append_column(name, column)
        return table.replace_schema_metadata()


def _series(name: str, column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_integer(column.type) and column.null_count:
        values = column.drop_null().to_numpy()
        if len(values) and (values.max() > _EXACT or values.min() < -_EXACT):
            return pd.Series(column.to_pandas(integer_object_nulls=True), name=name).astype("Int64")
    return pd.Series(column.to_pandas(), name=name)


def _on_demand(feature_refs: list[str], project: str, registry: BaseRegistry) -> list[OnDemand]:
    views: list[OnDemand] = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
    return views


def _joined(
    asked: pd.DataFrame, time: str, view: FeatureView, names: Sequence[str], repository: str
) -> dict[str, pa.ChunkedArray]:
    """The features of one view, a value for each row of `asked`."""
    source: Any = view.batch_source
    renamed = view.projection.join_key_map
    table = _read(source, repository)
    keys = [key.name for key in view.entity_columns if key.name != DUMMY_ENTITY_ID]
    asked_keys = [renamed.get(key, key) for key in keys]
    if missing := [key for key in asked_keys if key not in asked.columns]:
        raise ConfigError(f"What is asked for has no column {', '.join(missing)}, which {view.name} is looked up by.")
    unit = "ns" if getattr(table[source.timestamp_field].type, "unit", "us") == "ns" else "us"
    created = source.created_timestamp_column
    times, asked_times = _instants(table[source.timestamp_field], unit), _numbers(asked[time], unit)
    rows = as_of(
        [asked[key] for key in asked_keys],
        asked_times,
        [table[key].to_pandas() for key in keys],
        times,
        _instants(table[created], unit) if created else None,
    )
    if view.ttl:
        age = asked_times - times[np.maximum(rows, 0)] if len(times) else asked_times
        rows = np.where(age > pd.Timedelta(view.ttl).as_unit(unit).asm8.astype(np.int64), NOTHING, rows)
    indexes = pa.array(rows, mask=rows == NOTHING)
    return {name: table[name].take(indexes) for name in names}


def _instants(column: pa.ChunkedArray, unit: str) -> Numbers:
    type_ = pa.timestamp(unit, "UTC")
    if not pa.types.is_timestamp(column.type):
        raise ConfigError("The column of the times of a source of features holds no timestamps.")
    naive = column.type.tz is None
    column = column.cast(pa.timestamp(unit)).cast(type_) if naive else column.cast(type_)
    numbers: Numbers = column.cast(pa.int64()).to_numpy()
    return numbers


def _numbers(column: pd.Series, unit: str) -> Numbers:
    numbers: Numbers = column.dt.tz_localize(None).to_numpy().astype(f"datetime64[{unit}]").astype(np.int64)
    return numbers


def _read(source: Any, repository: str) -> pa.Table:
    """All of a source, its columns called as Feast maps them."""
    options: dict[str, Any] = {}
    credentials, endpoint = source.resolve_credentials(), source.file_options.s3_endpoint_override
    if credentials:
        options |= {"key": credentials.get("AWS_ACCESS_KEY_ID"), "secret": credentials.get("AWS_SECRET_ACCESS_KEY")}
        options |= {"token": credentials["AWS_SESSION_TOKEN"]} if credentials.get("AWS_SESSION_TOKEN") else {}
    if endpoint:
        options["client_kwargs"] = {"endpoint_url": endpoint}
    path = str(FileSource.get_uri_for_file_path(repo_path=repository, uri=source.file_options.uri))
    system, inside = fsspec.core.url_to_fs(path, **options)
    try:
        # Without threads: a process that ends while Arrow's are still there may be aborted by the C++ runtime.
        table = datasets.dataset(inside, filesystem=PyFileSystem(FSSpecHandler(system)), format="parquet").to_table(
            use_threads=False
        )
    except (FileNotFoundError, pa.ArrowInvalid):
        raise ConfigError(
            f"There is no history of features at {source.name}.", code="no_history", hint=Hint("features.refresh")
        ) from None
    return table.rename_columns([source.field_mapping.get(name, name) for name in table.column_names])
