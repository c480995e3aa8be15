"""`clearwell up` starts an archiver where a contract archives its stream, and no deliverer for it."""

from __future__ import annotations

from pathlib import Path

from clearwell.contract.load import newest_contracts
from clearwell.local.services import service_names

FLIGHTS = Path(__file__).parents[3] / "schemas" / "flights" / "v1.yaml"


def test_an_archiver_and_no_deliverer(tmp_path: Path) -> None:
    text = FLIGHTS.read_text()
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights" / "v1.yaml").write_text(text)
    before = service_names(newest_contracts(tmp_path))
    (tmp_path / "flights" / "v1.yaml").write_text(text.replace("routes:\n", "routes:\n  - {to: archive.cold}\n"))
    assert service_names(newest_contracts(tmp_path)) - before == {"archive.cold.flights"}
