"""What the sweeps count; ``tests/conftest.py`` says it at the end of the run."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def swept(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """How many cases of each kind were tried."""
    counted: Counter[str] = Counter()
    yield counted
    record_property("swept", dict(counted))
