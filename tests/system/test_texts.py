# SPDX-License-Identifier: MIT
"""Whatever a robot or a client says is storable: its log-in is recorded, and nobody else's waits for it."""

import json
import os
import random
import time

from harness.wait import wait_until

EMOJI = "\U0001f600"


def literal(data):
    return (b'"' + data + b'"').hex()


def title(company, data):
    return {"mode": "splice", "company_id": company, "fields": {"titulo": literal(data)}}


def active_titles(system):
    sql = "SELECT company_id, title FROM chasqui_sessions WHERE state = 'active'"
    return {row["company_id"]: row["title"] for row in system.database.rows(sql)}


def batch_done(system, batch_id, timeout=60):
    def ended():
        batch = system.api.get(f"/api/v1/app/batches/{batch_id}").expect(200).json["batch"]
        return batch if batch["finished_at"] else None

    return wait_until(ended, timeout, f"batch {batch_id} has ended")


def test_titles_cut_anywhere_are_recorded(make_system):
    system = make_system(capacity=60)
    said = {
        1: (b"Men\xfa SOL", "Men\ufffd SOL"),
        2: (("ñ" * 200).encode()[:255], "ñ" * 127 + "\ufffd"),
        3: (("x" + EMOJI * 300).encode(), "x" + EMOJI * 254),
        4: (b"cut \\ud83d", "cut \ufffd"),
        5: (b"nul \\u0000 tab\\t esc\\u001b end", "nul  tab esc end"),
        6: (b"raw \x01\x02\ttab", "raw  tab"),
        7: (b"\xed\xa0\x80 surrogate", "\ufffd\ufffd\ufffd surrogate"),
        8: (b"C1 \xc2\x9b gone", "C1  gone"),
        9: (("a" * 9000).encode(), "a" * 255),
        10: (b"", None),
    }  # fmt: skip
    system.robot.ask("POST", "/_test/behave", {"login": [title(company, data) for company, (data, _) in said.items()]})
    batch = system.api.batch(range(1, 41)).expect(202).json
    ended = batch_done(system, batch["batch_id"])
    assert ended["counts"]["done"] == 40, ended
    shown = active_titles(system)
    assert {company: shown[company] for company in said} == {company: want for company, (_, want) in said.items()}
    # and by themselves
    system.robot.ask("POST", "/_test/behave", {"login": [title(50, ("ñ" * 200).encode()[:255])]})
    answer = system.api.execute(50).expect(200).json
    assert answer["robot"]["titulo"] == "ñ" * 127 + "\ufffd"


def test_boot_ids_of_any_kind(make_system):
    system = make_system()
    seen = []
    for boot in ("arranque-ñ", "arranque-ó", "Boot", "boot", "b" * 64, "b" * 65, "b" * 200, "é"):
        raw_json, header = json.dumps(boot, ensure_ascii=False).encode(), boot.encode()
        system.robot.ask("POST", "/_test/behave", {"health": {"mode": "splice", "fields": {"boot_id": raw_json.hex()}, "headers": {"X-Robot-Boot": header.hex()}}})  # fmt: skip

        def another():
            now = system.database.value("SELECT boot_id FROM chasqui_robots")
            return now if now not in seen else None

        seen.append(wait_until(another, 20, f"boot {boot!r} is recorded"))
    assert len(set(seen)) == 8 and "Boot" in seen and "boot" in seen and "b" * 64 in seen
    system.robot.behave_well()
    session = system.api.login(1)
    # only letter case tells the next boot from this one: the session is gone all the same
    boot = system.database.value("SELECT boot_id FROM chasqui_sessions WHERE live = 1")
    assert boot != boot.upper()
    system.robot.ask("POST", "/_test/behave", {"health": {"mode": "overlay", "fields": {"boot_id": boot.upper()}},
                                               "list": {"mode": "status", "status": 404}})  # fmt: skip
    wait_until(lambda: system.api.session(session).status == 410, 20, "the session of the other boot has ended")
    system.allow_violations = True


def hostile(rng):
    """Bytes of a JSON string's inside: mostly parsable, never kind."""
    parts = [
        b"\xff", b"\xc3", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80", b"\\ud83d", b"\\ude00", b"\\u0000", b"\\n", b"\\\\", b"\xed\xbf\xbf",
        b"\xc2\x80", b"\x7f", b"\x1b[31m", b"'; DROP TABLE portal_jobs; --", b"%s%n", b"\xef\xbf\xbf", b"\xe2\x80\xae", b"\\/", b"\\u200b",
        b"x" * 255, "ñ".encode() * 127, b" ", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"http://127.0.0.1:1/", b"\\\"",
    ]  # fmt: skip
    return b"".join(rng.choice(parts) for _ in range(rng.randrange(0, 40)))


def hostile_answer(rng, company):
    """One answer to a log-in: a session, or a refusal with words."""
    fields = {name: literal(hostile(rng)) for name in ("titulo", "url", "extra") if rng.random() < 0.7}
    behaviour = {"mode": "splice", "company_id": company, "fields": fields}
    if rng.random() < 0.15:
        behaviour["headers"] = {"X-Robot-Boot": hostile(rng).replace(b"\n", b"").replace(b"\r", b"").hex()[:400]}
    if rng.random() < 0.25:
        fields |= {"ok": b"false".hex(), "error": literal(hostile(rng)), "message": literal(hostile(rng))}
        behaviour["status"] = rng.choice([200, 400, 401, 422])
        behaviour["work"] = False
    elif rng.random() < 0.1:
        fields["session_id"] = literal(hostile(rng))
    return behaviour


def test_hostile_answers_are_always_recorded(make_system):
    """Seeded; CHASQUI_FUZZ_SECONDS and CHASQUI_FUZZ_SEED for more."""
    seconds, seed = float(os.environ.get("CHASQUI_FUZZ_SECONDS", 5)), int(os.environ.get("CHASQUI_FUZZ_SEED", 1))
    system = make_system(robots=2, capacity=400, portals={"sunat": {"breaker": "off"}}, settings={"queue.max_attempts": 1, "dispatcher.db_threads": 2})
    system.allow_violations = True  # a refusal may come after the work
    rng, until, company, rounds = random.Random(seed), time.monotonic() + seconds, 1, 0
    while time.monotonic() < until or not rounds:
        companies = range(company, company + 60)
        company, rounds = company + 60, rounds + 1
        answers = [hostile_answer(rng, one) for one in companies if rng.random() < 0.6]
        for robot in system.robots.values():
            robot.ask("POST", "/_test/behave", {"login": answers})
        batch = system.api.batch([one for one in companies if one % 10]).expect(202).json
        for one in companies:
            if one % 10 == 0:
                assert system.api.execute(one, timeout=60).status in (200, 502)
        counts = batch_done(system, batch["batch_id"], 90)["counts"]
        assert counts["done"] + counts["failed"] == 54, counts
        for robot in system.robots.values():
            robot.behave_well()
        for session in system.database.rows("SELECT robot_session_id AS id FROM chasqui_sessions WHERE state = 'active'"):
            system.api.close(session["id"])
    refused = [line for process in system.dispatchers for line in process.log.read_text().splitlines() if "sql_failed" in line or "refused_by_database" in line]  # fmt: skip
    assert not refused, refused[:5]
    print(f"{rounds} rounds, seed {seed}")
