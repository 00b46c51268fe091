# SPDX-License-Identifier: MIT
"""`chasqui worker test URL` against the demo robot, its misbehaviours, and the minimal robots of docs/robots.md."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import program, wait_until
from harness.ports import free_port
from harness.process import Process, clean_env

DOCS = Path(__file__).resolve().parents[2] / "docs" / "robots.md"
LOGIN_FREE = {"HEALTH", "CAPACITY", "BOOT", "HEAD", "KEEP_ALIVE", "REQUEST_ID", "UNKNOWN_PATH", "UNKNOWN_SESSION", "SESSIONS", "DELETE", "FENCE"}


@pytest.fixture
def check(tmp_path):
    """check(url) -> (exit code, {probe: row}) of --json; with credentials unless told otherwise. A robot that is well is asked again when it did not answer
    a probe within its second: that may be the machine's fault."""
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps({"ruc": "20123", "usuario": "DEMO", "clave": "demo"}))

    def run(url, *words, with_login=True, is_well=True):
        words = (*words, "--credentials", credentials) if with_login else words
        for left in (2, 1, 0):
            code, probes = once(url, words)
            if not (is_well and left and "FAILED" in [probes[name]["outcome"] for name in ("HEALTH", "HEALTH_BUSY") if name in probes]):
                return code, probes

    def once(url, words):
        done = subprocess.run(
            [program("chasqui"), "worker", "test", url, "--json", *words], env=clean_env(), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
        assert answer["ok"] is (done.returncode == 0)
        assert "demo" not in done.stdout.replace("demo robot", "")
        return done.returncode, {row["probe"]: row for row in answer.get("probes", ())}

    return run


def outcomes(probes):
    return {name: row["outcome"] for name, row in probes.items()}


def test_the_demo_robot_meets_the_contract(check, robot_factory):
    robot = robot_factory(login_ms="700-900")
    code, probes = check(robot.url)
    got = outcomes(probes)
    assert code == 0, probes
    assert {name for name, outcome in got.items() if outcome != "ok"} <= {"HEAD", "REQUEST_ID", "SECOND"}, probes
    assert "calls" in probes["HEALTH_BUSY"]["detail"]
    assert robot.sessions() == []  # every session of the test was closed


def test_without_credentials_nothing_is_logged_in(check, robot_factory):
    robot = robot_factory()
    code, probes = check(robot.url, with_login=False)
    got = outcomes(probes)
    assert code == 0
    assert {name for name, outcome in got.items() if outcome != "not tried"} == LOGIN_FREE
    assert robot.calls("login") == []


def test_what_is_missing_is_named_with_its_cost(check, robot_factory):
    code, probes = check(robot_factory(seed_only=True, session_check=False).url)
    assert code == 0, [row for row in probes.values() if row["outcome"] == "FAILED"]
    for name in ("BOOT", "SESSIONS", "FENCE", "CLOSE", "FILE_WALL"):
        assert probes[name]["outcome"] == "missing" and probes[name]["cost"], probes[name]


@pytest.mark.parametrize(
    "call, behaviour, probe, outcome",
    [
        ("health", {"mode": "status", "status": 500}, "HEALTH", "FAILED"),
        ("health", {"mode": "hang"}, "HEALTH", "FAILED"),
        ("health", {"mode": "garbage"}, "HEALTH", "FAILED"),
        ("login", {"mode": "status", "status": 500}, "LOGIN", "FAILED"),
        ("login", {"mode": "reset"}, "LOGIN", "FAILED"),
        ("login", {"mode": "long_session_id"}, "LOGIN", "FAILED"),
        ("list", {"mode": "status", "status": 500}, "LIST", "FAILED"),
        ("list", {"mode": "truncated_json"}, "LIST", "FAILED"),
        ("file", {"mode": "status", "status": 500}, "FILE", "missing"),
        ("delete", {"mode": "status", "status": 405}, "DELETE", "missing"),
        ("sessions", {"mode": "status", "status": 404}, "SESSIONS", "missing"),
        ("fence", {"mode": "status", "status": 404}, "FENCE", "missing"),
    ],
    ids=lambda value: value["mode"] if isinstance(value, dict) else str(value),
)  # fmt: skip
def test_each_misbehaviour(check, robot_factory, call, behaviour, probe, outcome):
    robot = robot_factory()
    robot.behave(call, **behaviour)
    code, probes = check(robot.url, is_well=call != "health")
    assert probes[probe]["outcome"] == outcome, probes[probe]
    assert code == (1 if outcome == "FAILED" else 0)


def test_nobody_listens_there(check):
    code, probes = check(f"http://127.0.0.1:{free_port()}", is_well=False)
    assert code == 1 and probes["HEALTH"]["outcome"] == "FAILED"
    assert {row["outcome"] for name, row in probes.items() if name != "HEALTH"} == {"not tried"}


def test_for_people(robot_factory):
    done = subprocess.run(
        [program("chasqui"), "worker", "test", robot_factory(seed_only=True).url], env=clean_env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert 'Without "boot id": a restart is noticed only by the 404 of the next call.' in done.stdout


@pytest.mark.parametrize("words, said", [
    (("ftp://robot",), "not a URL"), (("http://127.0.0.1:1", "--credentials", "/no/such/file"), "cannot be read"), ((), "something is missing"),
])  # fmt: skip
def test_bad_words(words, said):
    done = subprocess.run([program("chasqui"), "worker", "test", *words], env=clean_env(), capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2) and said in done.stderr


# --- the minimal robots of the document --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["robot.py", "robot.mjs"])
def test_the_minimal_robots_work_as_printed(check, tmp_path, name):
    runner = sys.executable if name.endswith(".py") else shutil.which("node")
    if runner is None:
        pytest.skip("there is no node")
    text = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", DOCS.read_text(), re.S)[1]
    port = free_port()
    text, places = re.subn(r"\b930[12]\b", str(port), text)
    assert places == 1
    (tmp_path / name).write_text(text)
    robot = Process(name, [runner, str(tmp_path / name)], tmp_path / f"{name}.log")
    robot.start()
    try:
        code, probes = wait_until(lambda: (lambda got: got if got[1]["HEALTH"]["outcome"] == "ok" else None)(check(f"http://127.0.0.1:{port}")), 30, name)
    finally:
        robot.stop()
    assert {n for n in ("HEALTH", "LOGIN", "LIST", "FILE", "KEY", "REQUEST_ID", "BOOT") if probes[n]["outcome"] != "ok"} == set(), probes
    assert code == 0, [row for row in probes.values() if row["outcome"] == "FAILED"]
