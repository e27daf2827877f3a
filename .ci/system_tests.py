"""The pytest plugin of `make test-system`: what sleeps goes first, and no test is skipped.

Except for want of measured data, which no package brings.
"""

import pytest

DATA = "shared/data"  # in the reason of such a skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster's jobs sleep in a queue for minutes: begun first, the other tests fill them."""
    items.sort(key=lambda item: "slurm" not in item.keywords)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test makes the whole run fail, since here everything is installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    skipped = sum(DATA not in str(report.longrepr) for report in reports)
    if skipped and not session.exitstatus:
        reporter.write_line(f"test-system: {skipped} tests were skipped, which is a failure here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
