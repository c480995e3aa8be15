"""The mqtt source keeps every obligation of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from clearwell.testing import SourceSuite
from tests.support.mqtt_broker import Broker
from tests.support.sources.mqtt import MqttCase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all tests here."""
    made = Broker("nats", tmp_path_factory.mktemp("broker"))
    yield made
    made.stop()


class TestMqttSource(SourceSuite):
    """On a real server."""

    options: ClassVar[dict[str, Any]] = {"batch_events": 5}
    repeats: ClassVar[bool] = True  # NATS stores an acknowledgement after it has answered, on a busy machine too late
    skipped: ClassVar[dict[str, str]] = {
        "test_resume_from_every_position": "the broker's session is the position: tests/e2e/test_mqtt_source.py",
        "test_items_are_counted": "what was not acknowledged comes again, and is counted again, as it must",
        "test_more_events_are_found_later": "what was not acknowledged comes again, as it must",
        "test_heartbeats": "what was not acknowledged comes again, as it must: tests/e2e/test_mqtt_source.py",
    }

    @pytest.fixture
    def case(self, broker: Broker, unique: Callable[[str], str]) -> Iterator[MqttCase]:
        """A case of its own."""
        made = MqttCase(broker, unique("plant"), shared=True)
        yield made
        made.close()

    def prepare(self, case: MqttCase) -> None:
        """Messages, and one that the broker keeps for those who come later."""
        case.fill(self.count)
        case.keep(b'{"id":"kept","at":"2026-01-01T00:00:00Z","n":1}')
