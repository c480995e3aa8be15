"""How Feast writes on this platform: online with exact types, and never into the history, which is made of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView as FeastView
from feast import OnDemandFeatureView
from feast.base_feature_view import BaseFeatureView
from feast.data_source import DataSource
from feast.infra.passthrough_provider import PassthroughProvider
from feast.repo_config import RepoConfig

from clearwell.errors import ConfigError, Hint
from clearwell.features.feast_objects import VIEW_TAG
from clearwell.features.pushed_types import check_frame
from clearwell.features.view_text import decode_view

AnyView = BaseFeatureView | FeastView | OnDemandFeatureView


class ClearwellProvider(PassthroughProvider):
    """Feast's own, but for what is written."""

    def ingest_df(self, feature_view: AnyView, df: pd.DataFrame, field_mapping: dict[Any, Any] | None = None) -> None:
        """Raises ConfigError where a column is not of its feature's type."""
        _check(feature_view, df)
        super().ingest_df(feature_view, df, field_mapping)

    async def ingest_df_async(
        self, feature_view: AnyView, df: pd.DataFrame, field_mapping: dict[Any, Any] | None = None
    ) -> None:
        """As `ingest_df`."""
        _check(feature_view, df)
        await super().ingest_df_async(feature_view, df, field_mapping)

    def ingest_df_to_offline_store(self, feature_view: FeastView, table: pa.Table) -> None:
        """Always raises ConfigError."""
        raise ConfigError(
            f'The history of the view "{feature_view.name}" is made of the events of its stream: push to the online '
            "store alone, or send events to the stream."
        )

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Feast asks before it writes into a history. Raises ConfigError where there is none yet."""
        try:
            return super().get_table_column_names_and_types_from_data_source(config, data_source)
        except FileNotFoundError:
            raise ConfigError(
                f'The history of "{data_source.name}" is not there yet. It is made of events of its stream and nothing '
                "else, so push to the online store alone.",
                code="no_history",
                hint=Hint("features.refresh"),
            ) from None


def _check(view: AnyView, frame: pd.DataFrame) -> None:
    text = view.tags.get(VIEW_TAG)
    if text is not None:
        check_frame(decode_view(text), frame)
