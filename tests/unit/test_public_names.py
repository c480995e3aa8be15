"""What `import clearwell` gives: `__all__` and no driver."""

from __future__ import annotations

import subprocess
import sys

import clearwell


def test_the_public_names() -> None:
    assert clearwell.__all__ == ["kafka_options", "subscription"]
    assert callable(clearwell.subscription) and callable(clearwell.kafka_options)


def test_importing_loads_no_driver_and_the_name_survives_its_package() -> None:
    code = (
        "import sys, clearwell; assert not {'kafka', 'pyarrow', 'sqlalchemy', 'faust'} & set(sys.modules);"
        "import clearwell.subscriptions.subscription; assert callable(clearwell.subscription)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
