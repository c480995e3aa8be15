"""`DestinationSuite`: what every destination must do, proven in a class of one fixture.

class TestWarehouse(DestinationSuite):
    @pytest.fixture
    def case(self, tmp_path):
        return WarehouseCase(tmp_path)
"""

from __future__ import annotations

from clearwell.testing.destination_owners import OwnersPart
from clearwell.testing.destination_refusals import RefusalsPart
from clearwell.testing.destination_rows import RowsPart
from clearwell.testing.destination_schemas import SchemasPart


class DestinationSuite(RowsPart, OwnersPart, RefusalsPart, SchemasPart):
    """Subclass it, and give the fixture `case`: a `DestinationCase` over a real server, new for each test.

    A destination that `keeps_history` must hold every event once by its raw identity; any other one row a key, the
    newest. Of one whose `row_count` is None every event must have come at least once, first ones in order. A gap of the
    store is a line in `cannot`: the test's name and the reason. Override `narrowed` where a store's types are narrower.
    """
