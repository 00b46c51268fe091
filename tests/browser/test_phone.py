# SPDX-License-Identifier: MIT
"""On a phone: what is shown at first is bounded, however much there is; the rest is a touch away."""

from dashboard import PICTURES
from harness.wait import wait_until

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
HIGH = "return document.documentElement.scrollHeight"


def test_the_overview_is_bounded_on_a_phone(operator, house):
    system = house.system
    for first in range(20801, 20846, 3):  # fifteen batches of three
        items = [{"company_id": company, "params": {"ruc": str(company), "usuario": "D", "clave": "d"}} for company in range(first, first + 3)]
        system.api.post("/api/v1/app/batches", {"portal": "sunat", "action": "sunat.menu_sol_login", "close": True, "items": items}).expect(202)
    system.api.login(20846)
    session = system.api.active(20846).json["session_id"]
    system.ops.post(f"/api/v1/ops/sessions/{session}/close", {"reason": "x" * 190}).expect(200)
    operator.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    operator.open().see("Queue by lane", "Companies", "r3", within="main", timeout=40)
    wait_until(lambda: len(operator.all("section[aria-labelledby=companies-h] tbody tr")) >= 6, 40, "the companies are told")
    assert operator.js(HIGH) < 2500, operator.js(HIGH)
    assert not operator.js("return [...document.querySelectorAll('tbody tr')].some(row => row.checkVisibility())")
    operator.press("Show: Companies", "main").see("Use most", within="main").press("Hide: Companies", "main").see_no("Use most", within="main")
    operator.driver.save_screenshot(str(PICTURES / "overview-phone.png"))
    for view in ("jobs", "batches", "sessions", "audit"):
        operator.go(view).see("Refresh", within="main", timeout=40)
        wait_until(lambda: operator.all("main tbody tr"), 40, f"{view} has rows")
        assert len(operator.all("main tbody tr")) <= 15, view
        assert operator.js("return document.documentElement.scrollWidth") <= PHONE["width"], view
    operator.size("wide").open().see("Use most", "Answer time", within="main", timeout=40)
    assert not operator.js("return [...document.querySelectorAll('.fold')].some(one => one.checkVisibility())")
