# SPDX-License-Identifier: MIT
"""Each process in turn dies: the page says within 3 s which one, in words, and recovers by itself."""

import pytest
from harness.wait import wait_until

pytestmark = pytest.mark.timed

SAID_S = 3


@pytest.fixture
def page(dashboard_of, make_system):
    """A system of two dispatchers, and its overview."""
    system = make_system(dispatchers=2)
    made = dashboard_of(system)
    made.system = system
    return made.see("1 of 1 robots up", "dispatchers: 2", within=".state")


def well(page, *words, timeout=15):
    """It is live, and what was wrong is not said any more. (That answers failed a moment ago may still be.)"""
    page.see("live", within=".state", timeout=timeout)
    page.see_no(*words, within=".state-words", timeout=timeout)


def test_a_dispatcher(page):
    page.system.dispatchers[1].kill9()
    page.see("dispatcher-2", within=".state", timeout=SAID_S)
    page.see("gone", within="section[aria-labelledby=processes-h]")
    page.system.dispatchers[1].start()
    well(page, "dispatcher-2")


def test_all_dispatchers_also_for_one_who_comes_then(page):
    for one in page.system.dispatchers:
        one.kill9()
    page.see("No dispatcher", within=".state", timeout=SAID_S)
    page.driver.refresh()
    page.see("dispatcher", timeout=SAID_S + 3)
    page.system.dispatchers[0].start()
    page.system.wait_ready()
    page.see("dispatchers: 1", within=".state", timeout=15).see("Queue by lane")


@pytest.mark.parametrize("lost", ["part.js", "app.js", "style.css"])
def test_a_file_of_the_page_that_does_not_arrive(page, lost):
    """As when the network changes while the page loads: it would stay empty, or plain."""
    driver = page.driver
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [f"*/dashboard/{lost}"]})
    page.open()
    if lost.endswith(".js"):
        page.see("A part of this page did not arrive. It is loaded again.")
    wait_until(lambda: page.js("return history.state?.loads") == 2, 10, "it is loaded again, a second time too")
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    wait_until(lambda: page.js("return [history.state, getComputedStyle(document.body).margin]") == [None, "0px"], 20, "it is whole")
    page.see("Queue by lane")
    driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": False})


def test_healthd(page):
    page.system.healthd.kill9()
    page.see("healthd", within=".state", timeout=SAID_S)
    page.system.healthd.start()
    well(page, "healthd")


def test_the_broker(page):
    page.system.broker.kill9()
    page.see("The broker does not answer", within=".state", timeout=SAID_S)
    assert page.js("return document.title").startswith("✖")
    page.see("Queue by lane", "last heard", within="body")  # what was known stays, marked as old
    page.system.broker.start()
    well(page, "does not answer")


def test_another_broker(dashboard_of, make_system):
    system = make_system(brokers=2)
    page = dashboard_of(system).see("1 of 1 robots up", within=".state")
    system.brokers[1].kill9()
    page.see("not reach broker", system.endpoints["broker", 1]["broker.bind"], within=".state", timeout=SAID_S)
    system.brokers[1].start()
    well(page, "not reach broker")


def test_a_broker_that_stands_still(page):
    page.system.broker.pause()
    page.see("The broker does not answer", within=".state", timeout=SAID_S + 0.5)
    page.system.broker.resume()
    well(page, "does not answer")


def test_the_database(page, mariadb):
    mariadb.kill9()
    page.see("database", within=".state", timeout=SAID_S)
    page.go("jobs").see("database", within="main")
    mariadb.start()
    page.go("")
    well(page, "database")
    page.go("jobs").see("No job is like that", within="main")


def test_a_robot_while_the_page_is_open(page):
    page.system.robot.kill9()
    page.see("r1", within=".state", timeout=SAID_S)
    page.system.robot.start()
    page.see_no("r1", within=".state-words", timeout=10)
