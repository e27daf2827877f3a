"""The pytest plugin of `make test-system`: what sleeps goes first, and no test is skipped."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster's jobs sleep in a queue for minutes: begun first, the other tests fill them."""
    items.sort(key=lambda item: "slurm" not in item.keywords)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test makes the whole run fail, since here everything is installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if skipped and not session.exitstatus:
        reporter.write_line(f"test-system: {skipped} tests were skipped, which is a failure here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
