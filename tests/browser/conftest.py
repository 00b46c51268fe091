# SPDX-License-Identifier: MIT
"""Fixtures of the browser tests: those of the system tests, one browser, and a house that lives for the whole run.

The house has two dispatchers, three robots and some history; tests that kill something make a system of their own.
"""

import pytest
from harness import MariaDB, Portal, System
from harness.fixtures import *  # noqa: F403
from harness.wait import wait_until

from dashboard import Dashboard, start_browser


@pytest.fixture(scope="session")
def driver():
    made = start_browser()
    yield made
    made.quit()
    made.profile.cleanup()


class House:
    """A system that has seen some work."""

    def __init__(self, system, server):
        self.system, self.server = system, server
        self.batch = None

    def live(self):
        """Sessions, a batch that is done, jobs that failed and one that waits."""
        system = self.system
        for company in range(20101, 20109):
            system.api.login(company)
        for robot in system.robots.values():
            robot.behave("login", "status", status=422, body={"ok": False, "error": "bad_credentials", "message": "Clave incorrecta"}, company_id=20110)
        system.api.execute(20110, params={"ruc": "20110", "usuario": "D", "clave": "d"}).expect(502, "robot_error")
        items = [{"company_id": company, "params": {"ruc": str(company), "usuario": "D", "clave": "d"}} for company in range(20120, 20132)]
        told = system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items}).expect(202).json
        self.batch = told["batch_id"]
        wait_until(lambda: system.api.get(f"/api/v1/app/batches/{self.batch}").json["batch"]["status"] == "done", 30, "the batch is done")
        system.ctl("schedule", "add", "daily", "--cron", "0 7 * * *", "--zone", "America/Lima", "--portal", "sunat", "--action", "sunat.menu_sol_login", "--company", 20120)
        return self


@pytest.fixture(scope="session")
def house(tmp_path_factory):
    """Shared by all tests that break nothing."""
    server = MariaDB(tmp_path_factory.mktemp("house-db")).start()
    portal = Portal(tmp_path_factory.mktemp("house-portal")).start()
    system = System(tmp_path_factory.mktemp("house") / "chasqui", server.create_database(), portal, dispatchers=2).setup()
    for _ in range(3):
        system.add_robot(capacity=12)
    system.start().wait_ready().wait_probed()
    yield House(system, server).live()
    wrong = system.close()
    portal.stop()
    server.close()
    assert not wrong, "\n".join(wrong)


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


