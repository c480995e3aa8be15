"""The source webhook passes the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.testing import PushSourceSuite
from tests.support.sources.webhook import WebhookCase


class TestWebhook(PushSourceSuite):
    """Signed by Standard Webhooks."""

    skipped = {"test_discover_gives_typed_fields": "nothing can be known before something was sent"}

    @pytest.fixture
    def case(self, tmp_path: Path) -> WebhookCase:
        """The sender."""
        return WebhookCase(tmp_path)
