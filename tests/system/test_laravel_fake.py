# SPDX-License-Identifier: MIT
"""What Chasqui::fake() of clients/laravel answers are the bytes that this system answers, but for ids, times and names.

Each answer is taken here from a running system. CHASQUI_FIXTURES=write writes the fixtures anew instead of comparing them.
"""

import json
import os
import re
import threading

from harness.system import ROOT
from harness.wait import wait_until

ANSWERS = ROOT / "clients/laravel/resources/fixtures/answers.json"
# Members whose values are other ones in each run. Of all others the values are the same bytes.
OTHER_EACH_TIME = (
    "id job_id job_uid session_id batch_id viewer_url request_id at since started_at created_at updated_at available_at "
    "finished_at last_activity_at eta_s queued_ms robot_ms file_token worker dispatcher successor_session_id next_cursor"
).split()
HEADERS = ("Content-Type", "Content-Disposition", "Content-Length", "Location", "Retry-After", "Preference-Applied", "Allow")
PARAMS = {"usuario": "DEMO", "clave": "demo"}


def masked(body):
    """The body with its varying values made one; whether each is a string, a number or null stays."""
    value = r'("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|null)'
    kinds = {'"': '"…"', "n": "null"}
    return re.sub(rf'("(?:{"|".join(OTHER_EACH_TIME)})": ?){value}', lambda m: m[1] + kinds.get(m[2][0], "0"), body)


def comparable(headers):
    return {name: re.sub(r"\d+$", "N", value) if name == "Location" else value for name, value in headers.items()}


def error_of_table():
    """The answer of each row of errors.def, of the form that most errors have."""
    rows = re.findall(r'^ERR\(([A-Z_]+), "([a-z_]+)", (\d+), (\d+), "((?:[^"\\]|\\.)*)"\)', (ROOT / "common/errors.def").read_text(), re.M)
    made = {}
    for _symbol, code, status, retry_after, text in rows:
        name = f"error_{code}" if f"error_{code}" not in made else f"error_{code}_{status}"
        body = json.dumps({"ok": False, "error": code, "message": text, "request_id": "0" * 32}, separators=(",", ":"), ensure_ascii=False)
        headers = {"Content-Type": "application/json", **({"Retry-After": retry_after} if retry_after != "0" else {})}
        made[name] = {"status": int(status), "headers": headers, "body": body}
    return made


class Recorder(dict):
    def take(self, name, answer, status, error=None, body=None):
        """Keeps an answer under its name, and gives it back. Of a file, and where `body` is given, only the head is kept."""
        answer.expect(status, error)
        is_json = answer.headers["Content-Type"].startswith("application/json")
        names = [key for key in HEADERS if answer.headers[key] is not None and not (is_json and key == "Content-Length")]
        headers = {key: answer.headers[key] for key in names}
        text = answer.body.decode() if is_json else "%PDF-1.4".ljust(len(answer.body))
        self[name] = {"status": answer.status, "headers": headers, "body": body or text}
        return answer


def record(system):
    """{name: answer} of everything that the fake can be asked."""
    api, got = system.api, Recorder()
    got.take("login", api.execute(1, params=PARAMS), 200)
    session = got.take("login_reused", api.execute(1, params=PARAMS), 200).json["session_id"]
    got.take("login_queued", api.queue(2), 202)
    got.take("session_active", api.active(1), 200)
    got.take("session", api.session(session), 200)
    got.take("touch", api.post(f"/api/v1/app/sessions/{session}/touch"), 200)
    got.take("buzon_list", api.list(session, 2), 200)
    token = system.robot_of(session).add_file(1, "constancia.pdf", 64)
    got.take("download", api.download(session, token), 200)
    got.take("action", api.execute(1, action="sunat.echo", session_id=session), 200)
    got.take("robot", api.get("/api/v1/app/robot/sunat/other/x", query={"session_id": session}), 200, body='{"ok": true}')
    wait_until(lambda: api.active(2).status == 200, 60, "the queued one is logged in")
    job_id = api.session(session).json["job_id"]
    got.take("job", api.job(job_id), 200)
    got.take("jobs", api.get("/api/v1/app/jobs", query={"company_id": 1}), 200)
    got.take("credentials_set", api.put("/api/v1/app/credentials", {"company_id": 3, "portal": "sunat", "credentials": PARAMS}), 200)
    got.take("credentials_removed", api.delete("/api/v1/app/credentials", query={"company_id": 3, "portal": "sunat"}), 200)
    batch = got.take("batch_accepted", api.batch([{"company_id": 4, "params": PARAMS}]), 202).json["batch_id"]
    wait_until(lambda: api.get(f"/api/v1/app/batches/{batch}").json["batch"]["finished_at"], 60, "the batch has ended")
    got.take("batch", api.get(f"/api/v1/app/batches/{batch}"), 200)
    got.take("batch_items", api.get(f"/api/v1/app/batches/{batch}/items"), 200)
    system.ctl("queue", "pause", "--reason", "test")
    waits = api.queue(5).json["job_id"]
    got.take("job_cancelled", api.delete(f"/api/v1/app/jobs/{waits}"), 200)
    batch = api.batch([{"company_id": 6, "params": PARAMS}]).json["batch_id"]
    got.take("batch_cancelled", api.delete(f"/api/v1/app/batches/{batch}"), 200)
    system.ctl("queue", "resume")
    # Errors that tell more than others.
    gone = api.login(7)
    system.robot_of(gone).forget(gone)
    got.take("error_session_expired", api.list(gone), 410, "session_expired")
    got.take("close", api.close(session), 200)
    got.take("error_session_closed", api.list(session), 410, "session_closed")
    got.take("error_robot_error", api.execute(8, params={"clave": "wrong"}), 502, "robot_error")
    got.take("error_validation_failed", api.execute(0), 422, "validation_failed")
    system.robot.settings(login_ms="5000-5000")
    first = threading.Thread(target=lambda: api.execute(9, params=PARAMS), daemon=True)
    first.start()
    system.robot.wait_call("login", 9)
    got.take("error_login_in_progress", api.execute(9, params=PARAMS), 409, "login_in_progress")
    first.join()
    system.robot.settings(login_ms="5-15")
    # And some that are as the table of errors has them.
    got.take("error_session_not_found", api.session("nobody"), 404)
    got.take("error_job_not_found", api.job(999999), 404)
    got.take("error_batch_not_found", api.get("/api/v1/app/batches/999999"), 404)
    got.take("error_not_found", api.get("/api/v1/app/none"), 404)
    got.take("error_unauthenticated", type(api)(api.base_url, "1|none").active(1), 401)
    lost = api.login(10)
    system.robot.reboot()
    wait_until(lambda: api.list(lost).status == 410, 60, "it is lost")
    got.take("error_session_lost", api.list(lost), 410, "session_lost")
    return got


def test_the_fake_answers_what_the_system_answers(make_system):
    actions = {"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use"}}
    system = make_system(actions=actions, settings={"robot.pass": "/sunat/other"})
    seen = record(system)
    table = error_of_table()
    wanted = {**table, **seen}
    if os.environ.get("CHASQUI_FIXTURES") == "write":
        ANSWERS.write_text(json.dumps(dict(sorted(wanted.items())), indent=1, ensure_ascii=False) + "\n")
    recorded = json.loads(ANSWERS.read_text())
    assert set(recorded) == set(wanted)
    shown = {name: (one["status"], comparable(one["headers"]), masked(one["body"])) for name, one in wanted.items()}
    assert shown == {name: (one["status"], comparable(one["headers"]), masked(one["body"])) for name, one in recorded.items()}
    # An error that tells no more than others is as the table has it.
    for name in ("session_not_found", "job_not_found", "batch_not_found", "not_found", "unauthenticated"):
        assert masked(table[f"error_{name}"]["body"]) == masked(seen[f"error_{name}"]["body"]), name
