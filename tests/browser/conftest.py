# SPDX-License-Identifier: MIT
"""Fixtures of the browser tests: those of the system tests, one browser, and a house that lives for the whole run.

The house has two dispatchers, three robots and some history; tests that kill something make a system of their own.
"""

import pytest
from harness.fixtures import *  # noqa: F403

from dashboard import Dashboard, start_browser
from house import built


@pytest.fixture(scope="session")
def driver():
    made = start_browser()
    yield made
    made.quit()
    made.profile.cleanup()


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """Shared by all tests that break nothing."""
    yield from built(tmp_path_factory)


@pytest.fixture
def dash(driver, house, request):
    """The house's dashboard, wide and light, nobody logged in."""
    page = Dashboard(driver, house.system.ops_url).size("wide").forget()
    yield page
    said = page.complaints()
    assert not said, "\n".join(said)


@pytest.fixture
def operator(dash, house):
    """The same, with an operator logged in."""
    return dash.open().log_in(house.system.token)


@pytest.fixture
def dashboard_of(driver):
    """dashboard_of(system): of another system, with an operator logged in."""

    def make(system):
        return Dashboard(driver, system.ops_url).size("wide").forget().open().log_in(system.token)

    return make


