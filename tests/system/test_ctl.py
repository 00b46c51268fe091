# SPDX-License-Identifier: MIT
"""`chasqui`: every command, with what is good and with what is not; at a database alone, but for the last part."""

import base64
import fcntl
import hashlib
import json
import os
import pty
import re
import stat
import struct
import subprocess
import termios
import threading
from pathlib import Path

import pytest
import zmq.auth
from ctl_desk import Ctl, FakeBroker, conf_with
from harness import free_port, program, wait_until
from harness.process import clean_env
from harness.system import ROOT

CANARY = "clave-canary-77aa"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # a terminal obeys these; a line's end is ours


@pytest.fixture
def ctl(tmp_path, database):
    return Ctl(tmp_path / "ctl", database)


# --- the command line ------------------------------------------------------------------------------------------------

COMMANDS = [
    ("migrate",), ("keys", "init"), ("keys", "rotate"), ("keys", "forget"), ("token", "create"), ("token", "list"), ("token", "revoke"), ("worker", "add"), ("worker", "list"),
    ("worker", "drain"), ("worker", "resume"), ("worker", "set"), ("worker", "disable"), ("worker", "enable"), ("worker", "remove"), ("worker", "test"), ("credentials", "set"), ("credentials", "import"), ("credentials", "list"), ("credentials", "remove"),
    ("sessions", "list"), ("sessions", "close"), ("sessions", "migrate"), ("batch", "submit"), ("batch", "status"), ("batch", "items"), ("batch", "results"),
    ("batch", "cancel"), ("batch", "list"), ("jobs", "list"), ("jobs", "show"), ("jobs", "retry"), ("jobs", "cancel"), ("queue", "status"),
    ("queue", "pause"), ("queue", "resume"), ("schedule", "add"), ("schedule", "list"), ("schedule", "show"), ("schedule", "set"), ("schedule", "remove"),
    ("schedule", "enable"), ("schedule", "disable"), ("schedule", "run"), ("stats",), ("check",), ("history",), ("errors",), ("audit", "list"), ("events",), ("events", "resend"), ("alerts",), ("alerts", "ack"), ("alerts", "mute"), ("alerts", "unmute"), ("alerts", "test"), ("doctor",), ("adopt",),
]  # fmt: skip


def plain(*words, **more):
    return subprocess.run([program("chasqui"), *words], env=clean_env(), capture_output=True, text=True, check=False, **more)


def test_help_names_every_command():
    told = plain("--help")
    assert told.returncode == 0 and not told.stderr
    for words in COMMANDS:
        assert " ".join(words) in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command(words):
    for asked in ((*words, "--help"), ("--help", *words), ("-h", *words, "--json")):
        told = plain(*asked)
        assert told.returncode == 0 and not told.stderr
        assert told.stdout.startswith(f"Usage: chasqui {' '.join(words)}")
        assert all(len(line) <= 80 for line in told.stdout.splitlines()), told.stdout
    assert len(told.stdout.splitlines()) > 6


def test_help_of_a_noun_and_of_the_configuration():
    told = plain("token", "--help")
    assert told.returncode == 0
    assert all(f"chasqui token {verb}" in told.stdout for verb in ("create", "list", "revoke"))
    assert all(len(line) <= 80 for line in plain("schedule", "--help").stdout.splitlines())
    told = plain("--help-config")
    assert told.returncode == 0
    assert "ctl.ops_url" in told.stdout and "broker.http" not in told.stdout
    assert all(len(line) <= 80 for line in told.stdout.splitlines())
    assert plain("--version").stdout.startswith("chasqui ")


def test_the_actions_in_the_readme_are_good(tmp_path):
    conf = tmp_path / "chasqui.conf"
    conf.write_text(re.search(r"```\n(actions\n.*?)```", (ROOT / "README.md").read_text(), re.S).group(1))
    done = subprocess.run([program("chasqui-broker"), "-c", conf, "--check"], env=clean_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words,said",
    [
        ((), "Usage: chasqui"),
        (("statistics",), "no command statistics"),
        (("robots", "list"), "no command robots; did you mean worker"),
        (("wroker", "list"), "did you mean worker"),
        (("worker", "dran", "r1"), "did you mean worker drain"),
        (("jobs", "list", "--comapny", "3"), "did you mean --company"),
        (("xyzzy",), "no command xyzzy\n"),
        (("audit", "list", "--since", "x"), "--since"),
        (("jobs", "eat"), "no command jobs eat"),
        (("jobs", "retry"), "something is missing"),
        (("batch", "status", "1", "2"), "a word too many"),
        (("token",), "what shall be done"),
        (("token", "eat"), "no command token eat"),
        (("token", "eat", "--help"), "no command token eat"),
        (("migrate", "now"), "a word too many"),
        (("keys", "init"), "something is missing"),
        (("keys", "rotate"), "something is missing"),
        (("keys", "init", "a", "b"), "a word too many"),
        (("migrate", "--force"), "takes no --force"),
        (("migrate", "--fast"), "no option --fast"),
        (("migrate", "-x"), "no option -x"),
        (("migrate", "-c"), "needs a value"),
        (("token", "create", "--rate"), "needs a value"),
        (("worker", "add", "r1", "--base-url", "http://a", "--base-url", "http://b"), "given twice"),
        (("migrate", "--json=yes"), "takes no value"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(words, said):
    told = plain(*words)
    assert told.returncode == 2
    assert said in told.stderr
    assert told.stdout == "" or "--json" in " ".join(words)


def test_conf_and_json_are_taken_anywhere(ctl):
    conf = str(ctl.system.conf)
    for words in (
        ("-c", conf, "--json", "worker", "list"),
        ("worker", "-c", conf, "list", "--json"),
        ("worker", "list", "--json", f"-c{conf}"),
        ("--json", "worker", "list", f"--config={conf}"),
    ):
        told = plain(*words)
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout) == {"ok": True, "workers": []}


def test_a_bad_configuration_ends_with_2(tmp_path):
    told = plain("-c", str(tmp_path / "none"), "worker", "list")
    assert told.returncode == 2 and "cannot be read" in told.stderr
    (tmp_path / "bad").write_text("db\n    colour = red\n")
    told = plain("-c", str(tmp_path / "bad"), "--json", "worker", "list")
    assert told.returncode == 2 and "bad:2:" in told.stderr
    assert json.loads(told.stdout)["ok"] is False


def test_no_database_ends_with_1_and_names_it(ctl):
    port = free_port()
    conf = conf_with(ctl, db__port=port)
    for words in (("worker", "list"), ("doctor",), ("token", "list")):
        told = ctl.run(*words, conf=conf, check=False)
        assert told.returncode == 1
        assert f"port {port}" in told.stderr and "cannot be reached" in told.stderr
    wrong = conf_with(ctl, db__user="nobody")
    told = ctl.run("worker", "list", conf=wrong, check=False)
    assert told.returncode == 1 and "nobody" in told.stderr
    assert ctl.database.password not in told.stderr + told.stdout


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_keys_are_made_private_and_readable_elsewhere(tmp_path):
    made = tmp_path / "curve"
    told = plain("keys", "init", str(made))
    assert told.returncode == 0, told.stderr
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    secrets = set()
    for role in ("broker", "dispatcher", "healthd", "ctl"):
        public, none = zmq.auth.load_certificate(made / f"{role}.key")
        both = zmq.auth.load_certificate(made / f"{role}.key_secret")
        assert none is None and both[0] == public and len(both[1]) == 40
        assert zmq.auth.load_certificate(made / "allow" / f"{role}.key") == (public, None)
        assert stat.S_IMODE((made / f"{role}.key_secret").stat().st_mode) == 0o400
        for path in (made / f"{role}.key", made / f"{role}.key_secret", made / "allow" / f"{role}.key"):
            assert re.search(rf'^ *role = "{role}"$', path.read_text(), re.MULTILINE)
        secrets.add(both[1])
    assert len(secrets) == 4
    assert stat.S_IMODE((made / "seal.key").stat().st_mode) == 0o400
    assert re.fullmatch(r"[0-9a-f]{64}\n", (made / "seal.key").read_text())
    assert not any(secret.decode() in told.stdout for secret in secrets)
    assert stat.S_IMODE((made / "webhook.key").stat().st_mode) == 0o400
    assert re.fullmatch(r"[0-9a-f]{64}\n", (made / "webhook.key").read_text())
    assert (made / "webhook.key").read_text() != (made / "seal.key").read_text()
    assert stat.S_IMODE((made / "viewer.key").stat().st_mode) == 0o400
    assert re.fullmatch(r"[0-9a-f]{64}\n", (made / "viewer.key").read_text()) and (made / "viewer.key").read_text() != (made / "webhook.key").read_text()
    assert len(list(made.iterdir())) == 12


def test_keys_are_never_overwritten(tmp_path):
    made = tmp_path / "curve"
    assert plain("keys", "init", f"{made}/").returncode == 0
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    told = plain("keys", "init", str(made))
    assert told.returncode == 1 and "there already" in told.stderr
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    # One file alone is enough, and nothing is left of the attempt.
    other = tmp_path / "other"
    (other / "allow").mkdir(parents=True)
    (other / "allow" / "healthd.key").write_text("mine")
    assert plain("keys", "init", str(other)).returncode == 1
    assert [path for path in other.rglob("*") if path.is_file()] == [other / "allow" / "healthd.key"]


def test_keys_where_none_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for where in ("file", "missing/curve", "x" * 300):
        told = plain("keys", "init", str(tmp_path / where))
        assert told.returncode in (1, 2) and told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    answer = plain("keys", "init", str(tmp_path / "good"), "--json")
    assert json.loads(answer.stdout)["ok"] and len(json.loads(answer.stdout)["files"]) == 15


# --- token --------------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_stored_as_a_hash(ctl):
    told = ctl.run("token", "create", "--company", 20123, "--company", "20124", "--ability", "app", "--rate", 7, "--expires", "90d", "--name", "Ñandú")
    number, _, secret = told.stdout.strip().partition("|")
    assert re.fullmatch(r"[A-Za-z0-9]{40,}", secret)
    row = ctl.database.row("SELECT *, expires_at - INTERVAL 90 DAY = created_at AS fits FROM chasqui_tokens")
    assert row["id"] == int(number) and row["secret_sha256"] == hashlib.sha256(secret.encode()).digest()
    assert (row["name"], row["abilities"], row["all_companies"], row["rate_per_minute"], row["fits"]) == ("Ñandú", "app", 0, 7, 1)
    assert [one["company_id"] for one in ctl.database.rows("SELECT company_id FROM chasqui_token_companies ORDER BY 1")] == [20123, 20124]
    assert ctl.audit() == [("token_create", f"token:{number}")]
    listed = ctl.run("token", "list").stdout + ctl.run("token", "list", "--json").stdout
    assert secret not in listed and secret not in json.dumps(ctl.snapshot(), default=str)


def test_tokens_differ_and_defaults_are_taken(ctl):
    made = [ctl.run("token", "create", "--company", "*", "--ability", "ops:read,app,ops").stdout.strip() for _ in range(5)]
    assert len({token.partition("|")[2] for token in made}) == 5
    row = ctl.database.rows("SELECT * FROM chasqui_tokens")[0]
    assert (row["abilities"], row["all_companies"], row["expires_at"], row["revoked_at"]) == ("app,ops:read,ops", 1, None, None)
    assert row["rate_per_minute"] == 600
    conf = conf_with(ctl, ratelimit__per_minute=42)
    ctl.run("token", "create", "--company", 1, "--ability", "app", conf=conf)
    assert ctl.database.value("SELECT rate_per_minute FROM chasqui_tokens ORDER BY id DESC LIMIT 1") == 42
    ctl.run("token", "create", "--ability", "ops:read")  # an operator's token is for all companies
    assert ctl.database.value("SELECT all_companies FROM chasqui_tokens ORDER BY id DESC LIMIT 1") == 1
    answer = ctl.json("token", "create", "--company", 1, "--ability", "app")
    assert answer["ok"] and answer["token"].startswith(f"{answer['id']}|")


@pytest.mark.parametrize(
    "words,said",
    [
        (("--ability", "app"), "--company is missing"),
        (("--ability", "app,ops"), "--company is missing"),
        (("--company", "1"), "--ability is missing"),
        (("--company", "0", "--ability", "app"), "--company"),
        (("--company", "-5", "--ability", "app"), "--company"),
        (("--company", "1.5", "--ability", "app"), "--company"),
        (("--company", "01", "--ability", "app"), "--company"),
        (("--company", "9223372036854775808", "--ability", "app"), "--company"),
        (("--company", "99999999999999999999999", "--ability", "app"), "--company"),
        (("--company", "", "--ability", "app"), "--company"),
        (("--company", "*", "--company", "1", "--ability", "app"), "every company already"),
        (("--company", "1", "--ability", ""), "--ability"),
        (("--company", "1", "--ability", "app,"), "--ability"),
        (("--company", "1", "--ability", "root"), "--ability"),
        (("--company", "1", "--ability", "ops"), r"need --company '\*'"),
        (("--company", "1", "--ability", "app,ops:read"), r"need --company '\*'"),
        (("--company", "1", "--ability", "app", "--rate", "-1"), "--rate"),
        (("--company", "1", "--ability", "app", "--rate", "10000001"), "--rate"),
        (("--company", "1", "--ability", "app", "--expires", "90"), "--expires"),
        (("--company", "1", "--ability", "app", "--expires", "0d"), "--expires"),
        (("--company", "1", "--ability", "app", "--expires", "9999999d"), "--expires"),
        (("--company", "1", "--ability", "app", "--expires", "d"), "--expires"),
        (("--company", "1", "--ability", "app", "--name", "a\nb"), "--name"),
        (("--company", "1", "--ability", "app", "--name", "ñ" * 101), "--name"),
    ],
)
def test_bad_tokens_are_refused(ctl, words, said):
    ctl.refuses(2, said, "token", "create", *words)


def test_revoking(ctl):
    token = ctl.run("token", "create", "--company", 1, "--ability", "app").stdout.strip()
    number, _, secret = token.partition("|")
    assert "revoked" in ctl.run("token", "revoke", number).stdout
    at = ctl.database.value("SELECT revoked_at FROM chasqui_tokens")
    assert at is not None
    assert "already" in ctl.run("token", "revoke", number).stdout
    assert ctl.database.value("SELECT revoked_at FROM chasqui_tokens") == at
    assert ctl.audit() == [("token_create", f"token:{number}"), ("token_revoke", f"token:{number}")]
    ctl.refuses(1, "no token 99", "token", "revoke", 99)
    told = ctl.refuses(2, "number before the", "token", "revoke", token)
    assert secret not in told.stderr + told.stdout


def test_the_list_tells_good_from_expired_and_revoked(ctl):
    for _ in range(3):
        ctl.run("token", "create", "--company", 7, "--ability", "app", "--expires", "30m")
    ctl.run("token", "revoke", 2)
    ctl.database.execute("UPDATE chasqui_tokens SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = 3")
    told = ctl.json("token", "list")["tokens"]
    assert [one["state"] for one in told] == ["good", "revoked", "expired"]
    assert told[0]["companies"] == [7] and told[0]["abilities"] == ["app"] and not told[0]["all_companies"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told[0]["expires_at"])
    lines = ctl.run("token", "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["ID", "STATE", "ABILITIES", "COMPANIES"] and len(lines) == 4


# --- worker -------------------------------------------------------------------------------------------------------------


def test_a_robot_is_added_normalised_with_places(ctl):
    before = ctl.revision()
    ctl.run("worker", "add", "r1", "--base-url", "HTTP://Robot.Example:80/pool/", "--viewer-url", "https://Viewer.example:443/", "--capacity", 3)
    row = ctl.database.row("SELECT * FROM chasqui_robots")
    assert (row["name"], row["base_url"], row["viewer_url"]) == ("r1", "http://robot.example/pool", "https://viewer.example")
    assert (row["capacity"], row["reported_capacity"], row["wanted"], row["removed"], row["fenced"]) == (3, None, "active", 0, None)
    slots = "SELECT slot FROM chasqui_places WHERE robot_id = (SELECT id FROM chasqui_robots WHERE name = %s) ORDER BY slot"
    assert [one["slot"] for one in ctl.database.rows(slots, "r1")] == [1, 2, 3]
    ctl.run("worker", "add", "r2", "--base-url", "http://10.0.0.8:9000")
    assert len(ctl.database.rows(slots, "r2")) == 10
    assert ctl.revision() == before + 2
    assert ctl.audit() == [("worker_add", "r1"), ("worker_add", "r2")]
    listed = ctl.json("worker", "list")["workers"]
    assert [(one["name"], one["places_used"], one["places_total"], one["viewer_url"]) for one in listed] == [
        ("r1", 0, 3, "https://viewer.example"), ("r2", 0, 10, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words,said",
    [
        (("r1",), "--base-url is missing"),
        (("", "--base-url", "http://a"), "a robot's name"),
        (("r 1", "--base-url", "http://a"), "a robot's name"),
        (("r/1", "--base-url", "http://a"), "a robot's name"),
        (("r" * 65, "--base-url", "http://a"), "a robot's name"),
        (("ñ", "--base-url", "http://a"), "a robot's name"),
        (("r1", "--base-url", "a:9000"), "--base-url"),
        (("r1", "--base-url", "ftp://a"), "--base-url"),
        (("r1", "--base-url", "http://user:word@a"), "--base-url"),
        (("r1", "--base-url", "http://a?x=1"), "--base-url"),
        (("r1", "--base-url", "http://a#x"), "--base-url"),
        (("r1", "--base-url", "http://a b"), "--base-url"),
        (("r1", "--base-url", "http://a\r\nX: y"), "--base-url"),
        (("r1", "--base-url", "http://" + "a" * 300), "--base-url"),
        (("r1", "--base-url", "http://a", "--viewer-url", "javascript:alert(1)"), "--viewer-url"),
        (("r1", "--base-url", "http://a", "--capacity", "0"), "--capacity"),
        (("r1", "--base-url", "http://a", "--capacity", "100001"), "--capacity"),
        (("r1", "--base-url", "http://a", "--capacity", "many"), "--capacity"),
    ],
)
def test_bad_robots_are_refused(ctl, words, said):
    ctl.refuses(2, said, "worker", "add", *words)


def test_a_robot_is_known_once(ctl):
    ctl.run("worker", "add", "r1", "--base-url", "http://a:9000")
    ctl.refuses(1, "r1 already", "worker", "add", "r1", "--base-url", "http://b:9000")
    ctl.refuses(1, "registered already, as robot r1", "worker", "add", "r2", "--base-url", "http://A:9000/")


def test_the_same_robot_added_by_many_at_once(ctl):
    ended = []
    runs = [
        threading.Thread(target=lambda: ended.append(ctl.run("worker", "add", "r1", "--base-url", "http://a", check=False)))
        for _ in range(6)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(one.returncode for one in ended) == [0, 1, 1, 1, 1, 1], [one.stderr for one in ended]
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_robots") == 1
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_places") == 10
    assert ctl.audit() == [("worker_add", "r1")]


def test_drain_and_resume(ctl):
    ctl.run("worker", "add", "r1", "--base-url", "http://a")
    revision = ctl.revision()
    wanted = "SELECT wanted FROM chasqui_robots WHERE name = 'r1'"
    ctl.run("worker", "drain", "r1")
    assert ctl.database.value(wanted) == "draining"
    assert "already" in ctl.run("worker", "drain", "r1").stdout
    assert ctl.revision() == revision + 1
    ctl.run("worker", "resume", "r1", "--reason", "patched")
    assert ctl.database.value(wanted) == "active"
    assert ctl.database.value("SELECT detail FROM chasqui_audit ORDER BY id DESC LIMIT 1") == "draining -> active: patched"
    ctl.refuses(2, "--reason must be", "worker", "drain", "r1", "--reason", "x" * 201)
    assert ctl.audit()[1:] == [("worker_want", "r1"), ("worker_want", "r1")]
    ctl.refuses(2, "up to 366d", "worker", "drain", "r1", "--deadline", "367d")
    for verb in ("drain", "resume", "remove"):
        ctl.refuses(1, "no robot r9", "worker", verb, "r9")
        ctl.refuses(2, "a robot's name", "worker", verb, "r 9")


def test_an_idle_robot_is_removed_and_can_come_again(ctl):
    for _ in range(3):
        ctl.run("worker", "add", "r1", "--base-url", "http://a")
        revision = ctl.revision()
        ctl.run("worker", "remove", "r1")
        assert ctl.revision() == revision + 1
    assert ctl.json("worker", "list")["workers"] == []
    rows = ctl.database.rows("SELECT wanted, removed FROM chasqui_robots")
    assert rows == [{"wanted": "disabled", "removed": None}] * 3
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_places") == 0
    assert ctl.audit()[-1] == ("worker_remove", "r1")


def test_a_robot_with_sessions_is_removed_only_by_force(ctl):
    ctl.run("worker", "add", "r1", "--base-url", "http://a", "--capacity", 5)
    ctl.run("worker", "add", "r2", "--base-url", "http://b")
    active, _ = ctl.session(1)
    opening, ref = ctl.session(2, state="opening")
    ctl.lease(opening, ref)
    ctl.database.execute("UPDATE chasqui_jobs SET params = 'sealed' WHERE job_id = %s", opening)
    other, _ = ctl.session(3, robot="r2")
    ctl.session(4, state="lost", close_pending=1)
    assert ctl.doctor()[1] == 0
    ctl.refuses(1, "2 live and 1 abandoned", "worker", "remove", "r1")
    told = ctl.run("worker", "remove", "r1", "--force").stdout
    assert "2 sessions were lost" in told
    states = {row["job_id"]: (row["state"], row["reason"], row["live"]) for row in ctl.database.rows("SELECT * FROM chasqui_sessions")}
    assert states[active] == states[opening] == ("lost", "robot_removed", None)
    assert states[other] == ("active", None, 1)
    jobs = {row["id"]: (row["status"], row["error"]) for row in ctl.database.rows("SELECT id, status, error FROM portal_jobs")}
    assert jobs[active] == jobs[opening] == ("failed", "session_lost") and jobs[other] == ("done", None)
    events = ctl.database.rows("SELECT job_id, event FROM chasqui_job_events ORDER BY job_id")
    assert events == [{"job_id": active, "event": "session_lost"}, {"job_id": opening, "event": "session_lost"}]
    found, code = ctl.doctor()
    assert (found, code) == ({}, 0)
    ctl.run("worker", "add", "r1", "--base-url", "http://a")
    ctl.session(1)  # the company can be logged in again


# --- credentials ----------------------------------------------------------------------------------------------------------


def test_credentials_are_stored_sealed(ctl):
    words = ("credentials", "set", "--company", 20123, "--portal", "sunat")
    told = ctl.run(*words, stdin=json.dumps({"usuario": "DEMO", "clave": CANARY}))
    sealed = ctl.database.value("SELECT sealed FROM chasqui_credentials WHERE company_id = 20123 AND portal = 'sunat'")
    assert len(sealed) > 45 and sealed[0] == 1
    dump = json.dumps(ctl.snapshot(), default=lambda value: value.decode("latin1") if isinstance(value, bytes) else str(value))
    for text in (CANARY, base64.b64encode(CANARY.encode()).decode()[:-4], CANARY.encode().hex()):
        assert text not in dump + told.stdout + told.stderr
    ctl.run(*words, stdin=json.dumps({"usuario": "DEMO", "clave": "otra"}))
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_credentials") == 1
    assert ctl.database.value("SELECT sealed FROM chasqui_credentials") != sealed
    assert ctl.audit() == [("credentials_set", "company:20123/sunat")] * 2


def test_credentials_of_many_companies(ctl, tmp_path):
    """The same file each morning lifts nothing: what a robot refused stays refused until it changes."""
    file = tmp_path / "companies.csv"
    file.write_text(f"company_id;usuario;clave\n1;A;uno\n2;B;{CANARY}\n3;C;tres\n0;D;x\n5\n", encoding="utf-8-sig")
    words = ("credentials", "import", file, "--portal", "sunat")
    counts = {"ok": False, "new": 3, "changed": 0, "unchanged": 0, "rejected_total": 2}
    before = ctl.run("credentials", "import", file, "--portal", "sunat", "--preview", check=False)
    assert before.returncode == 1 and "credentials for sunat: 3 new, 0 changed, 0 as they were; 2 rows rejected; nothing was stored" in before.stdout
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_credentials") == 0
    told = ctl.run(*words, "--json", check=False)
    assert told.returncode == 1 and counts.items() <= json.loads(told.stdout).items()
    assert "line 5: company_id must be a whole number of 1 or more" in told.stderr and "line 6: it has no credentials, only the company" in told.stderr
    assert CANARY not in told.stdout + told.stderr
    assert ctl.audit() == [("credentials_set", f"company:{n}/sunat") for n in (1, 2, 3)]
    ctl.database.execute(
        "INSERT INTO chasqui_refused (company_id, portal, at, credentials_at, job_id, robot_status) "
        "SELECT company_id, portal, NOW(6), updated_at, 1, 401 FROM chasqui_credentials WHERE company_id < 3")  # fmt: skip
    file.write_text("company_id,clave,usuario\n4,x,D\n3,tres,C\n", encoding="utf-8")
    assert "1 new, 0 changed, 1 as they were; 0 rows rejected" in ctl.run(*words).stdout
    file.write_text(f'{{"company_id":1,"params":{{"usuario":"A","clave":"uno"}}}}\n{{"company_id":"2","params":{{"usuario":"B","clave":"{CANARY}2"}}}}\n')
    assert "0 new, 1 changed, 1 as they were; 0 rows rejected" in ctl.run(*words).stdout
    assert [one["company_id"] for one in ctl.json("credentials", "list", "--refused")["credentials"]] == [1]
    file.write_text("company_id,epoch\n7,1\n")
    ctl.refuses(1, "epoch", *words)
    ctl.refuses(1, "cannot be read", "credentials", "import", tmp_path / "none.csv", "--portal", "sunat")


def test_credentials_list_and_remove(ctl):
    for company, portal in ((2, "sunat"), (1, "sunat"), (1, "sunafil")):
        ctl.run("credentials", "set", "--company", company, "--portal", portal, stdin='{"clave":"x"}')
    told = ctl.json("credentials", "list")["credentials"]
    assert [(one["company_id"], one["portal"]) for one in told] == [(1, "sunafil"), (1, "sunat"), (2, "sunat")]
    assert all({"company_id", "portal", "updated_at", "refused_at"} <= set(one) and one["refused_at"] is None and "clave" not in str(one) for one in told)
    assert len(ctl.json("credentials", "list", "--company", 1)["credentials"]) == 2
    assert len(ctl.json("credentials", "list", "--company", 1, "--portal", "sunat")["credentials"]) == 1
    ctl.run("credentials", "remove", "--company", 1, "--portal", "sunat")
    assert len(ctl.json("credentials", "list")["credentials"]) == 2
    ctl.refuses(1, "no credentials of company 1 for sunat", "credentials", "remove", "--company", 1, "--portal", "sunat")
    assert ctl.audit()[-1] == ("credentials_remove", "company:1/sunat")


SET = ("credentials", "set", "--company", 1, "--portal", "sunat")


@pytest.mark.parametrize(
    "text,said",
    [
        ("", "not one JSON object"),
        ("{", "not one JSON object"),
        ("{} {}", "not one JSON object"),
        ('{"a":1,"a":2}', "not one JSON object"),
        ('{"a":"\\u0000"}', "not one JSON object"),
        ('{"a":' + "[" * 50 + "]" * 50 + "}", "not one JSON object"),
        ("[]", "must be one JSON object"),
        ('"clave"', "must be one JSON object"),
        ("{}", "at least one field"),
        ('{"epoch":1,"clave":"x"}', "epoch"),
        ('{"company_id":1}', "company_id"),
        ('{"a":"' + "x" * 16384 + '"}', "16 KiB"),
    ],
    ids=range(12),
)
def test_bad_credentials_are_refused(ctl, text, said):
    told = ctl.refuses(1, said, *SET, stdin=text)
    assert "xxxx" not in told.stderr


def test_credentials_of_exactly_16_kib_are_taken(ctl):
    text = '{"a":"' + "x" * (16384 - 8) + '"}'
    assert len(text) == 16384
    ctl.run(*SET, stdin=text)


def test_credentials_need_company_portal_and_key(ctl):
    ctl.refuses(2, "--company is missing", "credentials", "set", "--portal", "sunat", stdin="{}")
    ctl.refuses(2, "--portal is missing", "credentials", "set", "--company", 1, stdin="{}")
    ctl.refuses(2, "--portal", "credentials", "set", "--company", 1, "--portal", "a.b", stdin="{}")
    ctl.refuses(2, "--portal", "credentials", "set", "--company", 1, "--portal", "p" * 65, stdin="{}")
    told = ctl.run(*SET, stdin='{"clave":"x"}', conf=conf_with(ctl, seal__key_file=""), check=False)
    assert told.returncode == 1 and "seal.key_file" in told.stderr
    key = Path(ctl.system.settings["seal.key_file"])
    key.chmod(0o440)
    told = ctl.run(*SET, stdin='{"clave":"x"}', check=False)
    assert told.returncode == 1 and str(key) in told.stderr
    assert ctl.database.value("SELECT COUNT(*) FROM chasqui_credentials") == 0


# --- sessions, through a broker -----------------------------------------------------------------------------------------------


def session_json(number):
    return {"session_id": f"s{number}", "company_id": number, "portal": "sunat", "worker": "r1", "state": "active", "reason": None,
            "job_id": number, "last_activity_at": "2026-01-02T03:04:05.678Z"}  # fmt: skip


def test_without_a_broker_the_url_is_named(ctl):
    port = free_port()
    conf = conf_with(ctl, ctl__ops_url=f"http://127.0.0.1:{port}/")
    for words in (("list",), ("close", "s1"), ("migrate", "s1")):
        told = ctl.run("sessions", *words, conf=conf, check=False)
        assert told.returncode == 1
        assert f"http://127.0.0.1:{port}/api/v1/ops/sessions" in told.stderr


def test_sessions_are_listed_page_by_page(ctl):
    def answers(_method, _path, query):
        first = int(query.get("cursor", ["450"])[0]) - 1
        last = max(first - int(query["limit"][0]), 0)
        return 200, {"ok": True, "sessions": [session_json(n) for n in range(first, last, -1)], "next_cursor": last + 1 if last else None}

    with FakeBroker(answers) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|abc")
        told = ctl.json("sessions", "list", "--limit", 1000, conf=conf)
        assert [one["session_id"] for one in told["sessions"]] == [f"s{n}" for n in range(449, 0, -1)] and not told["more"]
        assert len(broker.asked) == 3
        told = ctl.run("sessions", "list", "--state", "active", "--company", 5, "--worker", "r1", "--limit", 2, conf=conf)
        method, path, query, headers, body = broker.asked[-1]
        assert (method, path, body) == ("GET", "/api/v1/ops/sessions", b"")
        assert query == {"state": ["active"], "company_id": ["5"], "worker": ["r1"], "limit": ["2"]}
        assert headers["Authorization"] == "Bearer 7|abc"
        assert told.stdout.splitlines()[0].split()[:2] == ["SESSION", "COMPANY"] and len(told.stdout.splitlines()) == 3
        assert "--limit" in told.stderr


def test_sessions_are_closed_and_moved(ctl):
    with FakeBroker(lambda *_: (200, {"ok": True, "session_id": "s1", "state": "closed"})) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|abc")
        assert "closed" in ctl.run("sessions", "close", "s 1/ñ", conf=conf).stdout
        method, path, _query, headers, body = broker.asked[-1]
        assert (method, path, body) == ("POST", "/api/v1/ops/sessions/s%201%2F%C3%B1/close", b"{}")
        assert headers["Content-Type"] == "application/json" and "Expect" not in headers
        assert ctl.json("sessions", "migrate", "s1", "--reason", "closer", conf=conf)["ok"] is True
        assert broker.asked[-1][1] == "/api/v1/ops/sessions/s1/migrate" and json.loads(broker.asked[-1][4]) == {"reason": "closer"}
        assert ctl.run("sessions", "close", "s1", "--reason", "", conf=conf, check=False).returncode == 2
        asked = len(broker.asked)
        assert ctl.run("sessions", "close", "s1", "s2", "--reason", "night", conf=conf).stdout == "session s1 is closed\nsession s2 is closed\n"
        assert [(one[1], json.loads(one[4])) for one in broker.asked[asked:]] == [(f"/api/v1/ops/sessions/{id}/close", {"reason": "night"}) for id in ("s1", "s2")]
        asked = len(broker.asked)
        for wrong in (("s1", ""), ("s1", "s2", "--preview"), ("s1", "s2", "--worker", "r1"), ()):
            assert ctl.run("sessions", "migrate", *wrong, conf=conf, check=False).returncode == 2, wrong
        assert len(broker.asked) == asked


def test_a_session_that_is_refused_does_not_hold_up_the_others(ctl):
    def answers(_method, path, _query):
        return (404, {"ok": False, "error": "session_not_found", "message": "There is no such session."}) if "/s2/" in path else (200, {"ok": True, "state": "closed"})

    with FakeBroker(answers) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|abc")
        told = ctl.run("sessions", "close", "s1", "s2", "s3", conf=conf, check=False)
        assert (told.returncode, told.stdout) == (1, "session s1 is closed\nsession s3 is closed\n") and "session_not_found" in told.stderr
        told = ctl.run("sessions", "close", "s1", "s2", "--json", conf=conf, check=False)
        assert json.loads(told.stdout) == {"ok": False, "sessions": [{"session_id": "s1", "ok": True, "state": "closed"}, {"session_id": "s2", "ok": False, "state": None}]}


@pytest.mark.parametrize(
    "answer,said",
    [
        ((401, {"ok": False, "error": "unauthenticated", "message": "Unauthenticated."}), "^chasqui: unauthenticated: .*ctl.token"),
        ((404, {"ok": False, "error": "session_not_found", "message": "There is no such session."}), "^chasqui: session_not_found: There is no such session.$"),
        ((503, {"ok": False, "error": "no_dispatcher", "message": "None."}), "^chasqui: no_dispatcher: None.$"),
        ((302, {"ok": True}), "302"),
        ((200, b"<html>"), "not an answer of a broker"),
        ((200, b"[1]"), "not an answer of a broker"),
        ((200, b"x" * (17 << 20)), "no broker answers"),
    ],
    ids=["401", "404", "503", "redirect", "html", "list", "endless"],
)
def test_what_a_broker_refuses_is_told(ctl, answer, said):
    with FakeBroker(lambda *_: answer) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|secret")
        for words in (("list",), ("close", "s1"), ("migrate", "s1")):
            told = ctl.run("sessions", *words, conf=conf, check=False)
            assert told.returncode == 1
            assert re.search(said, told.stderr, re.M), told.stderr
            assert (broker.url in told.stderr) is not (isinstance(answer[1], dict) and "error" in answer[1])
            assert "secret" not in told.stderr
        assert all("elsewhere" not in asked[1] for asked in broker.asked)


def test_bad_session_filters_are_refused(ctl):
    ctl.refuses(2, "--state", "sessions", "list", "--state", "asleep")
    ctl.refuses(2, "--company", "sessions", "list", "--company", "x")
    ctl.refuses(2, "a robot's name", "sessions", "list", "--worker", "a b")
    ctl.refuses(2, "--limit", "sessions", "list", "--limit", "0")
    ctl.refuses(2, "ID is a session", "sessions", "close", "")
    ctl.refuses(2, "ID is a session", "sessions", "migrate", "x" * 500)


# --- what people see -----------------------------------------------------------------------------------------------------------


def on_terminal(conf, columns, *words):
    """What a terminal of that width is sent."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    done = subprocess.run([program("chasqui"), "-c", conf, *words], stdout=follower, stderr=subprocess.PIPE, env={**clean_env(), "NO_COLOR": "1"}, check=False)
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65536):
            shown += part
    except OSError:  # that was all
        pass
    os.close(leader)
    assert done.returncode == 0, done.stderr
    return shown.decode().replace("\r\n", "\n")


def test_a_table_fits_the_terminal_and_lets_nothing_through(ctl):
    evil = {**session_json(1), "session_id": "\x1b[31mred\x07\x9b" + "s" * 40, "worker": "ñ" * 60, "reason": "a\nb"}
    with FakeBroker(lambda *_: (200, {"ok": True, "sessions": [evil], "next_cursor": None})) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|abc")
        shown = on_terminal(conf, 140, "sessions", "list")
        plain_text = ctl.run("sessions", "list", conf=conf).stdout
        as_json = ctl.run("sessions", "list", "--json", conf=conf).stdout
    assert not CONTROL.search(shown + plain_text + as_json)
    assert json.loads(as_json)["sessions"] == [evil]
    lines = shown.splitlines()
    assert len(lines) == 2 and "…" in lines[1] and all(len(line) <= 140 for line in lines)
    assert r"\x1b[31mred\x07\x9b" + "s" * 40 in lines[1] and r"a\nb" in lines[1] and "2026-01-02 03:04" in lines[1]
    assert "ñ" * 60 in plain_text


@pytest.mark.parametrize("columns", [80, 60])
def test_nothing_wraps_and_what_names_a_row_is_never_cut(ctl, columns):
    session = {**session_json(20131), "session_id": "0123456789abcdef" * 2, "worker": "robot-1"}
    counts = dict.fromkeys(("queued", "running", "retrying", "done", "failed", "cancelled"), 12345)
    batch = {"id": 98765, "status": "cancelled", "action": "sunat.menu_sol_login", "total": 61725, "counts": counts, "created_at": session["last_activity_at"]}
    job = {"id": 1234567, "company_id": 20131, "action": "sunat.menu_sol_login", "status": "cancelled", "attempts": 3, "worker": "robot-1",
           "batch_id": 98765, "error": "robot_unreachable", "created_at": session["last_activity_at"]}  # fmt: skip
    rows = {"sessions": session, "batches": batch, "jobs": job}

    def answers(_method, path, _query):
        name = path.rsplit("/", maxsplit=1)[-1]
        return 200, {"ok": True, name: [rows[name]], "next_cursor": None}

    with FakeBroker(answers) as broker:
        conf = conf_with(ctl, ctl__ops_url=broker.url, ctl__token="7|abc")
        for noun, named in (("sessions", session["session_id"]), ("batch", "98765"), ("jobs", "1234567")):
            lines = on_terminal(conf, columns, noun, "list").splitlines()
            assert len(lines) == 2 and all(len(line) <= columns for line in lines), lines
            assert lines[1].split()[0] == named
            assert noun != "batch" or "CANCELLED" in lines[0]
            assert noun != "jobs" or "robot_unreachable" in lines[1]
    ctl.run("worker", "add", "robot-1", "--base-url", "http://127.0.0.1:9101", "--viewer-url", "https://viewer.example/watch")
    lines = on_terminal(ctl.system.conf, 80, "worker", "list").splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines) and lines[1].endswith("http://127.0.0.1:9101")


# --- with all of Chasqui -----------------------------------------------------------------------------------------------------------


def test_sessions_by_the_real_broker(make_system):
    system = make_system(robots=2)
    one, two = system.api.login(101), system.api.login(102)
    told = system.ctl_json("sessions", "list", "--state", "active")["sessions"]
    assert {session["session_id"] for session in told} == {one, two}
    assert [session["session_id"] for session in system.ctl_json("sessions", "list", "--company", 101)["sessions"]] == [one]
    where = system.robot_of(one).name
    assert one in {session["session_id"] for session in system.ctl_json("sessions", "list", "--worker", where)["sessions"]}
    assert "is closed" in system.ctl("sessions", "close", one).stdout
    system.api.list(one).expect(410, "session_closed")
    again = system.ctl("sessions", "close", one, check=False)
    assert again.returncode == 1 and "session_closed: " in again.stderr
    nobody = system.ctl("sessions", "close", "no-such-session", check=False)
    assert nobody.returncode == 1 and "session_not_found: " in nobody.stderr
    assert system.ctl_json("doctor")["robots_asked"]


def test_what_the_database_holds_is_not_obeyed_by_the_terminal(make_system):
    system = make_system()
    system.api.login(105)
    system.database.execute("UPDATE chasqui_sessions SET reason = %s", "\x1b[2J\x07")
    system.database.execute("UPDATE chasqui_job_events SET detail = %s", "a\x1b]0;b\x07\nc\x9bd")
    job = system.ctl_json("sessions", "list")["sessions"][0]["job_id"]
    sessions, shown = system.ctl("sessions", "list").stdout, system.ctl("jobs", "show", job).stdout
    assert not CONTROL.search(sessions + shown)
    assert r"\x1b[2J\x07" in sessions and r"a\x1b]0;b\x07\nc\x9bd" in shown


def test_a_session_is_moved_by_the_real_broker(make_system):
    system = make_system(robots=2)
    system.set_credentials(103, usuario="DEMO", clave="demo")
    session = system.api.login(103)
    before = system.robot_of(session).name
    system.ctl("sessions", "migrate", session)

    def moved():
        told = system.ctl_json("sessions", "list", "--company", 103, "--state", "active")["sessions"]
        return told and told[0]["worker"] != before

    wait_until(moved, 20, "the session is on another robot")
    system.api.list(session).expect(200)


def test_draining_and_removing_reach_the_dispatchers(make_system):
    system = make_system(robots=2, capacity=200)  # until the dispatcher has read the list log-ins land on both
    session = system.api.login(104)
    busy = system.robot_of(session).name
    other = next(name for name in system.robots if name != busy)
    system.ctl("worker", "drain", other)

    def lands_on(name, first):
        """Log-ins go to that robot alone, as soon as the dispatcher has read the list."""
        companies = iter(range(first, first + 1000))

        def all_there():
            return all(system.robot_of(system.api.login(next(companies))).name == name for _ in range(3))

        wait_until(all_there, 20, f"log-ins land on {name} alone")

    lands_on(busy, 2000)
    system.ctl("worker", "resume", other)
    told = system.ctl("worker", "remove", busy, check=False)
    assert told.returncode == 1 and "--force" in told.stderr
    system.ctl("worker", "remove", busy, "--force")
    system.api.list(session).expect(410, "session_lost")
    lands_on(other, 4000)
    assert system.robot_of(system.api.login(104, force_new=True)).name == other
    system.allow_violations = True  # the robot was removed with its sessions: what it still holds is the operator's wish
