# SPDX-License-Identifier: MIT
"""`make run ROBOT=chromium`: what it prints works as it is printed, and its viewer shows the portal's page."""

import json
import re

from conftest import pictures
from harness import wait_until
from harness.running import READY, place, play, up  # noqa: F401


def test_what_it_prints_works(up, place, browser):  # noqa: F811
    run = up(ROBOT="chromium")
    run.wait_log(READY, 240)
    execute, listed, got = play(run)[:3]
    assert json.loads(execute)["ok"], execute
    page = json.loads(listed)
    assert page["ok"] and page["company_id"] == 20123 and page["items"], listed  # the log-in of another company ended nothing
    assert re.match(r"200 application/pdf \d{4}", got)
    browser.get(re.search(r"^  (http\S+/viewer/\S+)$", run.text(), re.MULTILINE).group(1))
    wait_until(lambda: pictures(browser) >= 1, 60, "a picture of the page")
