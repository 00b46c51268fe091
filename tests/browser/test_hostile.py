# SPDX-License-Identifier: MIT
"""Whatever robots, tenants and operators write is shown as text: markup in every field of theirs runs nowhere."""

import re

MARK = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script><b>&amp;"


def fill(system):
    """Markup in every column that is shown; where one is too short, as much as fits."""
    run = system.database.execute
    run("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, worker, error, message, robot_session_id, created_at, updated_at, started_at) "
        "VALUES ('XSSXSSXSSXSS-1', 66601, LEFT(%s, 64), LEFT(%s, 64), 'failed', LEFT(%s, 64), LEFT(%s, 64), %s, LEFT(%s, 100), NOW(), NOW(), NOW())", *[MARK] * 6)
    job = system.database.value("SELECT id FROM portal_jobs WHERE company_id = 66601")
    run("INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) VALUES (%s, 'XSSXSSXSSXSS-1', 'login', 66601, 'sunat')", job)
    run("INSERT INTO chasqui_job_events (job_id, at, event, worker, dispatcher, detail) VALUES (%s, NOW(6), LEFT(%s, 40), LEFT(%s, 64), LEFT(%s, 64), %s)", job, *[MARK] * 4)
    run("UPDATE portal_jobs SET robot_worker_viewer_url = 'javascript:window.hit=1//' WHERE id = %s", job)
    run("INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, reason, since, robot_session_id, title, started_at, last_activity_at) "
        "VALUES (%s, %s, 66601, LEFT(%s, 64), NULL, 'closed', LEFT(%s, 40), NOW(6), LEFT(%s, 100), %s, NOW(6), NOW(6))", job, job, *[MARK] * 4)
    run("INSERT INTO chasqui_audit (at, actor, peer, request_id, action, subject, detail) VALUES (NOW(6), LEFT(%s, 160), LEFT(%s, 64), %s, LEFT(%s, 40), %s, %s)", *[MARK] * 6)
    run("INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, created_at) VALUES (1, LEFT(%s, 64), LEFT(%s, 64), 5, 1, 'running', NOW(6))", MARK, MARK)
    return job


def test_markup_is_text_everywhere(dashboard_of, make_system):
    system = make_system()
    system.check_doctor = False
    robot = system.robot
    robot.behave("health", "status", status=500, body=MARK, headers={"Server": "<b>x</b>"})
    system.ops.post("/api/v1/ops/queue/pause", {"reason": MARK}).expect(200)
    token = system.ctl("token", "create", "--company", "*", "--ability", "ops", "--name", MARK[:90], check=False).stdout
    job = fill(system)
    page = dashboard_of(system)
    page.see(MARK[:30], within="section[aria-labelledby=queue-h]")
    for view, where in (("", "main"), ("robots", "main"), ("sessions?state=all", "tbody"), ("jobs", "tbody"), (f"jobs/{job}", "main"), ("batches", "tbody"), ("audit", "tbody")):
        page.go(view).see(MARK[:20] if view not in ("robots",) else "r1", within=where)
        assert not page.all("main img, main script, [onerror]"), view
        assert not page.js("return window.hit"), view
        assert not page.all("a[href^='javascript:']"), view
    assert re.search(r"\d+\|", token) or token == ""
    said = [line for line in page.complaints() if "Content Security Policy" in line or "Trusted" in line]
    assert not said  # nothing even tried
