"""A pytest plugin: a skipped test makes the whole run fail, since here everything is installed."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", [])) if reporter else 0
    if skipped and not session.exitstatus:
        reporter.write_line(f"test-system: {skipped} tests were skipped, which is a failure here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
