# SPDX-License-Identifier: MIT
"""Keys are rotated while everything runs: log-ins with stored credentials before, during and after."""

import re
import subprocess
import threading
import time
from http.client import HTTPException

import pytest
from harness import program
from harness.http import Client
from harness.process import clean_env
from harness.wait import wait_until


def sealed_ids(system):
    """The ids of the keys that anything in the database is sealed with."""
    ids = set()
    for table, column in (("chasqui_credentials", "sealed"), ("chasqui_jobs", "params"), ("chasqui_items", "params"),
                          ("chasqui_schedule_items", "params"), ("chasqui_idempotency", "answer")):
        rows = system.database.rows(f"SELECT DISTINCT HEX(SUBSTRING({column}, 2, 4)) AS id FROM {table} WHERE {column} IS NOT NULL")
        ids |= {row["id"] for row in rows}
    return ids


def cookie_of(system, broker):
    page = Client(system.ops_url_of(broker))
    answer = page.post("/login", {"token": system.token}, headers={"Origin": system.ops_url_of(broker)}).expect(200)
    return answer.headers["Set-Cookie"].partition(";")[0]


def me(system, broker, cookie):
    return Client(system.ops_url_of(broker)).get("/api/v1/ops/me", headers={"Cookie": cookie}).status


@pytest.mark.long(15)
def test_keys_are_rotated_while_everything_runs(make_system):
    system = make_system(robots=1, brokers=2, dispatchers=2, healthds=1, capacity=300, settings={"log.level": "info", "healthd.timeout_ms": 3000})
    keys = system.directory / "keys"
    for role in ("broker", "dispatcher", "healthd"):  # while they run, which holds their addresses
        done = subprocess.run([program(f"chasqui-{role}"), "-c", system.directory / f"{role}-1.conf", "--check"], capture_output=True, text=True, check=False, env=clean_env(), timeout=60)
        assert done.returncode == 0 and f"the keys of {role} in {keys} can be read" in done.stdout, (role, done)
        assert ("database: " in done.stdout) == (role == "dispatcher") and ("is in use, by this program if it runs" in done.stdout) == (role != "dispatcher"), done.stdout
    for company in range(1, 6):
        system.set_credentials(company, usuario=f"u{company}", clave="c")
    system.database.execute(
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) SELECT 9000, portal, sealed, NOW(6) FROM chasqui_credentials "
        "WHERE company_id = 5")  # sealed for another company: nobody opens it
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    waiting = system.api.queue(50, available_at=tomorrow, params={"usuario": "later"}).expect(202).json["job_id"]
    batch = system.api.batch([{"company_id": 51, "params": {"usuario": "b"}}], available_at=tomorrow).expect(202).json["batch_id"]
    keyed = system.api.execute(40, headers={"Idempotency-Key": "k"}, params={"usuario": "u"}).expect(200)
    cookie = cookie_of(system, 0)
    old_ids = sealed_ids(system)
    assert len(old_ids) == 1

    wrong, counts, until = [], {"list": 0, "login": 0}, threading.Event()
    session = system.api.login(41)

    def work():
        company = 1
        while not until.is_set():
            for broker in (0, 1):
                api = system.api_at(broker)
                try:
                    answer = api.list(session, timeout=60)
                    counts["list"] += answer.status == 200
                    again = api.execute(company, force_new=True)
                    counts["login"] += again.status == 200
                    wrong.extend(str(one) for one in (answer, again) if one.status != 200)
                except (OSError, HTTPException):
                    time.sleep(0.1)  # that broker is being restarted
                company = company % 5 + 1

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    told = system.ctl("keys", "rotate", keys, timeout=120).stdout
    assert "1 rows are sealed with a key that is not in seal.key" in told, told
    system.database.execute("DELETE FROM chasqui_credentials WHERE company_id = 9000")
    assert "a rotation is under way" in system.ctl("keys", "rotate", keys, check=False).stderr
    new_ids = sealed_ids(system)
    assert len(new_ids) == 1 and new_ids != old_ids
    assert system.database.value("SELECT COUNT(*) FROM chasqui_audit WHERE action = 'keys_rotate'") == 1
    # what was answered under a key before is answered again after
    again = system.api.execute(40, headers={"Idempotency-Key": "k"}, params={"usuario": "u"}).expect(200)
    assert again.headers["Idempotency-Replayed"] == "true" and again.json == keyed.json

    # one broker after another, and the healthd: dispatchers find out which key is good
    for number in (0, 1):
        system.brokers[number].restart()
        wait_until(lambda number=number: system.ready(number), 30, "ready")
        wait_until(lambda number=number: system.api_at(number).list(session).status == 200, 20, "the list comes")
        assert [me(system, broker, cookie) for broker in (0, 1)] == [200, 200], "the cookie goes on"
        fresh = cookie_of(system, number)
        time.sleep(1.1)  # a broker looks for a newer key once a second
        assert [me(system, broker, fresh) for broker in (0, 1)] == [200, 200], "and so does one of the new key, at both"
    system.healthd.restart()
    for dispatcher in system.dispatchers:  # a dispatcher that starts between
        dispatcher.restart()
    wait_until(lambda: all(system.ready(broker) for broker in (0, 1)), 30, "ready")
    wait_until(lambda: system.api.list(session).status == 200, 20)
    forgot = system.ctl("keys", "forget", keys, timeout=60).stdout
    assert "the old keys are gone" in forgot
    assert not list(keys.rglob("*-old*")) and len((keys / "seal.key").read_text().split("\n")) == 3
    for dispatcher in system.dispatchers:
        dispatcher.wait_log(r"event=seal_keys_read .*keys=1 ", 10)
    before = dict(counts)
    wait_until(lambda: counts["login"] > before["login"] + 4 and counts["list"] > before["list"] + 4, 30, "the work goes on")
    until.set()
    worker.join(60)
    wrong = [one for one in wrong if not re.search(r"no_dispatcher|database_unavailable|outcome_unknown|stopping", one)]
    assert not wrong, wrong[:3]
    assert [me(system, broker, cookie) for broker in (0, 1)] == [401, 401], "the old key's cookie ended with it"
    # what waited through it all still opens
    system.database.execute("UPDATE chasqui_items SET due_at = NULL, ready = 1 WHERE due_at IS NOT NULL")
    wait_until(lambda: system.api.job(waiting).json["job"]["status"] == "done", 20, "the job that waited")
    wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 1, 20, "and the batch")
    bodies = [call["body"] for call in system.robot.calls("login") if call["company_id"] in (1, 2, 3, 4, 5)]
    assert all(f'"u{body["company_id"]}"' in str(body).replace("'", '"') for body in bodies if isinstance(body, dict))
