# SPDX-License-Identifier: MIT
"""Many tabs of one browser, which has six connections to a host for all of them."""

from harness.wait import wait_until

TABS = 9


def test_the_ninth_tab_works_and_the_first_one_again(dash, house):
    dash.open().log_in(house.system.token).see("live", within=".state")
    driver = dash.driver
    first = driver.current_window_handle
    others = []
    try:
        for _ in range(TABS - 1):
            driver.switch_to.new_window("tab")
            others.append(driver.current_window_handle)
            dash.open().see("live", within=".state").see("Queue by lane")
        wait_until(lambda: house.system.metric("chasqui_sse_active") == 1, 30, "only the tab that is seen follows events")
        driver.switch_to.window(first)
        dash.see("live", within=".state")
        wait_until(lambda: dash.js("return document.hidden") or house.system.metric("chasqui_sse_active") >= 1, 30, "it follows events again")
        told = dash.js("return document.querySelector('.state time').dateTime")
        wait_until(lambda: dash.js("return document.querySelector('.state time').dateTime") != told, 30, "its numbers move")
    finally:
        for handle in others:
            driver.switch_to.window(handle)
            driver.close()
        driver.switch_to.window(first)
