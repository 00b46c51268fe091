# SPDX-License-Identifier: MIT
"""A front-end of another origin, with the token that Laravel gave it: it logs in, lists and downloads before Chasqui, with it and after it.

Only its base URL changes. What it does is done by Chromium, which asks for CORS's leave by itself.
"""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.laravel import Laravel, missing
from harness.system import ROOT

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")
VIEW = (ROOT / "packaging/laravel/chasqui_tokens_view.sql").read_text(encoding="utf-8")
FRONT_END = """
const [base, token, company, done] = arguments;
const headers = {Authorization: 'Bearer ' + token, Accept: 'application/json'};
async function call(path, more = {}) {
    const got = await fetch(base + '/api/v1/app/' + path, {...more, headers: {...headers, ...more.headers}});
    return got.ok ? got : Promise.reject(new Error(path + ': ' + got.status + ' ' + await got.text()));
}
(async () => {
    const body = JSON.stringify({company_id: company, portal: 'sunat', action: 'sunat.menu_sol_login', params: {usuario: 'DEMO', clave: 'demo'}});
    const login = await (await call('jobs/execute', {method: 'POST', body, headers: {'Content-Type': 'application/json'}})).json();
    const list = await (await call('buzon/list?page=1&session_id=' + login.session_id)).json();
    const item = list.items[0];
    const file = await call('buzon/download?session_id=' + login.session_id + '&file_token=' + item.file_token);
    const bytes = (await file.arrayBuffer()).byteLength;
    return {session: login.session_id, company: list.company_id, size: item.size, bytes, name: file.headers.get('Content-Disposition')};
})().then(done, why => done({error: String(why)}));
"""


@pytest.fixture
def origin(tmp_path):
    """Where the front-end comes from: neither Laravel's origin nor Chasqui's."""
    page = tmp_path / "front-end"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html><title>front-end</title><link rel=icon href=data:,>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=page))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_front_end_before_during_and_after(driver, origin, tmp_path, database, make_system):
    laravel = Laravel(tmp_path, database, PORTAL_JOBS_SHAPE="relaxed", FRONT_ORIGIN=origin)
    laravel.migrate()
    tokens = laravel.fill(3)
    system = make_system(database=database, robots=1, capacity=20, robot_options={"session_check": False},
                         settings={"auth.laravel_view": "chasqui_laravel_tokens", "broker.cors_origins": origin})  # fmt: skip
    for statement in "\n".join(line for line in VIEW.splitlines() if not line.strip().startswith("--")).split(";"):
        if statement.strip():
            system.database.execute(statement)
    robots = [{"base_url": robot.url, "viewer_url": "https://viewer.example"} for robot in system.robots.values()]
    laravel.env["ROBOT_WORKERS"] = json.dumps(robots)
    driver.set_script_timeout(150)
    driver.get(origin)

    def used(base, company):
        got = driver.execute_async_script(FRONT_END, base, tokens[company], company)
        assert "error" not in got, (base, got)
        assert got["company"] == company and got["bytes"] == got["size"] > 0, got
        return got

    laravel.start()
    before = used(laravel.url, 1)
    during = used(system.api_url(), 1)
    assert during["session"] == before["session"]  # Laravel's session, met and not opened a second time
    assert "attachment" in during["name"]  # a page may read it
    used(system.api_url(), 2)
    after = used(laravel.url, 1)
    assert after["session"] == before["session"]
    laravel.stop()
    # An origin that nobody named: the browser itself keeps the answer from the page.
    driver.get(origin.replace("127.0.0.1", "localhost"))
    assert "Failed to fetch" in driver.execute_async_script(FRONT_END, system.api_url(), tokens[2], 2)["error"]
    driver.get("about:blank")
    driver.get_log("browser")
