"""What the sweeps count, said at the end of the run."""

from collections import Counter

import pytest

_SWEPT = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(_SWEPT, Counter())


@pytest.fixture(scope="session")
def swept(pytestconfig: pytest.Config) -> Counter[str]:
    """How many cases of each kind were tried."""
    return pytestconfig.stash.setdefault(_SWEPT, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counted = config.stash.get(_SWEPT, Counter())
    if counted:
        parts = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))
        terminalreporter.write_line(f"sweep over the API model: {counted.total()} cases ({parts})")
