# SPDX-License-Identifier: MIT
"""`chasqui stats` and `chasqui events` with all of Chasqui."""

import fcntl
import json
import os
import pty
import queue
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from ctl_desk import FakeBroker
from harness import program, wait_until
from harness.process import clean_env
from harness.system import ROOT


@pytest.fixture
def told(system):
    """The configuration of the command with a token that may read."""
    token = system.make_token("*", "ops:read")
    conf = system.directory / "read.conf"
    conf.touch(mode=0o600)
    conf.write_text(f'ctl\n    ops_url = "{system.ops_url}"\n    token = "{token}"\n')
    return system, conf


def ready(system):
    system.api.execute(20131).expect(200)
    wait_until(lambda: (system.ops.get("/api/v1/ops/stats").json["places"] or {}).get("used") == 1, 10, "a summary came")
    wait_until(lambda: system.ops.get("/api/v1/ops/stats").json["companies"]["use_most"], 10, "a dispatcher told of companies")


class Terminal:
    """The command on a pseudo-terminal of that size."""

    def __init__(self, conf, *words, columns=80, rows=24, environment=None):
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.popen = subprocess.Popen([program("chasqui"), "-c", conf, *words], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                                      env={**clean_env(), **(environment or {})}, cwd=ROOT)  # fmt: skip
        os.close(slave)
        self.text = b""

    def read(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            try:
                self.text += os.read(self.fd, 65536)
            except OSError:
                break
        return self.text.decode()

    def press(self, key):
        os.write(self.fd, key)

    def end(self):
        code = self.popen.wait(10)
        os.close(self.fd)
        return code


def frames(text):
    """What stood on the screen, a list of lines for each time it was drawn; styles taken out."""
    drawn = text.split("\033[H")[1:]
    return [re.sub(r"\033\[[0-9;?]*[a-zA-Z]", "", one).replace("\r", "").split("\n") for one in drawn]


def test_once(told):
    system, conf = told
    ready(system)
    out = system.ctl("stats", conf=conf).stdout
    assert out.startswith("ok  broker ") and "All is well" in out
    for part in ("Waiting", "Robots  as of ", "Dispatchers", "Health", "Companies", "Requests"):
        assert f"\n{part}" in out
    assert re.search(r"^r1 +up +active +1/10 ", out, re.M) and re.search(r"^dispatcher-1 +here +ok \d/4 ", out, re.M)
    assert re.search(r"^(control|interactive|login|batch|queue) +0 ", out, re.M) and "places [###..." in out
    assert re.search(r"POST /api/v1/app/jobs/execute .*200:1", out)
    assert re.search(r" 20131\b", out) and "20,131" not in out  # a company's id can be pasted
    assert "\033" not in out
    assert re.search(r"^LANE +ACCEPTED/S +REJECTED/S +DONE/S +FAILED/S +RETRIED/S ", out, re.M) and re.search(r"^connections \d+ of 20,000; ", out, re.M)
    assert re.search(r"^dispatcher-1 +[0-9a-f]{32}$", out, re.M) and re.search(r"^streams 0 now, 0 since the start; 0 B, 0 B/s now$", out, re.M)
    assert re.search(r" 20131 ", out)  # a company is a name, not an amount
    body = json.loads(system.ctl("stats", "--json", conf=conf).stdout)
    assert body["ok"] and body["state"] == "ok" and "history" not in body


def test_what_is_wrong_and_what_to_do(told):
    system, conf = told
    ready(system)
    system.healthd.kill9()
    out = wait_until(lambda: "No healthd" in (now := system.ctl("stats", conf=conf).stdout) and now, 5)
    assert out.startswith("warn  ") and "    Start chasqui-healthd.\n" in out
    wait_until(lambda: re.search(r"^r1 +was up +active ", system.ctl("stats", conf=conf).stdout, re.M), 5, "a robot is shown as last judged")
    system.healthd.start()


def test_what_a_robot_did_last_and_what_went_wrong(told):
    system, conf = told
    ready(system)
    system.wait_probed()
    system.robot.kill9()
    out = wait_until(lambda: "-> down" in (now := system.ctl("stats", conf=conf).stdout) and now, 5)
    assert re.search(r"^r1 .* -> down +\d\d:\d\d:\d\d +refused$", out, re.M), out
    system.robot.start()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_the_whole_screen(told, columns, rows):
    system, conf = told
    ready(system)
    terminal = Terminal(conf, "stats", "--watch", columns=columns, rows=rows)
    wait_until(lambda: len(frames(terminal.read(0.3))) >= 3, 10, "it is drawn again and again")
    text = terminal.read(0)
    drawn = frames(text)[:-1]  # the last one may be on its way
    assert text.startswith("\033[?1049h\033[?25l") and len(drawn) >= 2
    for lines in drawn:
        assert len(lines) <= rows and all(len(line) <= columns for line in lines), lines
        assert lines[0].startswith("ok") and lines[-1].startswith("q ends this  ? keys") and lines[-2].startswith("1 All 2 Robots ")
        assert any(re.match(r"r1 +up +active +1/10", line) for line in lines)
    terminal.press(b"q")
    wait_until(lambda: "\033[?1049l" in terminal.read(0.3), 10, "the screen is given back")
    assert terminal.end() == 0


@pytest.fixture
def screen(tmp_path):
    """`stats --watch` at 80 x 24 before a broker that answers from a script; press(keys) answers the lines of the screen."""
    robots = [
        {"name": f"r{i}", "verdict": "up" if i % 3 else "unknown", "last_verdict": "up", "wanted": "active", "places_used": i % 11, "places_total": 10,
         "logins_done_per_s": i / 100, "logins_failed_per_s": 0, "login_s": {"p50": 0.1, "p95": i * 1.0}, "errors": {"timeout": i, "full": 99}, "why": ""}
        for i in range(40)
    ]  # fmt: skip
    waits = {"depth": {"n": 100000, "capped": True}, "oldest_age_s": 45015, "wait_s": {"p50": 10.1, "p95": 59.9, "p99": 45015}, "clear_s": 45015, "done_per_s": 1.5, "failed_per_s": 0.4}
    lanes = [{"lane": "interactive", "in_flight": 10000, **waits}]
    stats = {
        "ok": True, "state": "ok", "as_of": "2026-01-31T06:00:00.000Z", "words": [{"level": "ok", "code": "well", "text": "All is well."}], "robots": robots,
        "broker": {"name": "b", "routes": []}, "lanes": lanes, "places": {"used": 3, "total": 400}, "dispatchers": [], "healthds": [], "companies": {},
        "queue": {"held": 1234, **waits},
    }  # fmt: skip
    hostile = "S\x1b[31m-1\x9b"
    lists = {
        "batches": [{"id": 7, "status": "running", "action": "a.b", "total": 1000, "counts": {"done": 12, "failed": 2}, "eta_s": 200, "created_at": "2026-01-31T06:00:00.000Z"}],
        "sessions": [{"session_id": hostile, "company_id": 7, "portal": "sunat", "worker": "r1", "state": "active", "job_id": 4}],
        "jobs": [{"id": 5, "company_id": 12, "action": "a.b", "status": "failed", "error": "robot_error"}],
        "errors": [{"error": "robot_error", "kind": "login", "n": 31, "companies": 9, "last_job_id": 5, "message": "no"}],
    }  # fmt: skip

    def answers(method, path, query):
        last = path.rsplit("/", 1)[1]
        if path.endswith("/stats"):
            return 200, stats
        if last in lists:
            return 200, {"ok": True, last: lists[last], "next_cursor": None}
        if path.endswith("/jobs/5"):
            return 200, {"ok": True, "job": {"id": 5, "timeline": [{"at": "2026-01-31T06:00:00.000Z", "event": "queued"}]}}
        return 404, {"ok": False, "error": "not_found", "message": "no"}

    with FakeBroker(answers) as broker:
        conf = tmp_path / "watch.conf"
        conf.touch(mode=0o600)
        conf.write_text(f'ctl\n    ops_url = "{broker.url}"\n    token = "1|x"\n')
        terminal = Terminal(conf, "stats", "--watch", environment={"TERM": "xterm", "NO_COLOR": "1"})

        def press(keys, wanted):
            os.write(terminal.fd, keys)

            def drawn():
                found = frames(terminal.read(0.2))
                lines = found[-1] if found else []
                return wanted in "\n".join(lines) and lines[-1].startswith("q ends this") and lines  # whole

            lines = wait_until(drawn, 10, f"the screen says {wanted!r}")
            assert len(lines) <= 24 and not [line for line in lines if len(line) > 80] and lines[-1].startswith("q ends this")
            return lines

        press.broker, press.terminal = broker, terminal
        yield press
        terminal.press(b"q")
        terminal.read(1)
        assert terminal.end() == 0


def test_long_waits_do_not_widen_the_table(screen):
    lines = screen(b"1", "LANE")
    lane = next(line for line in lines if line.startswith("interactive"))
    assert lines[0].startswith("ok") and lane.endswith("0.4") and "…" not in lane and "100,000+" in lane and "12h30m" in lane, lane
    assert next(line for line in lines if line.startswith("held ")).split()[1] == "1,234"  # by pauses and portals
    fcntl.ioctl(screen.terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    wait_until(lambda: all(len(line) <= 30 for line in (frames(screen.terminal.read(0.3)) or ["x" * 80])[-1]), 20, "what cannot be fitted is cut")


def test_tabs_sort_filter_and_open(screen):
    lines = screen(b"2", "ROBOT ")
    assert lines[4].startswith("r0 ") and "was up" in lines[4], "as last judged"
    lines = screen(b"s" * 8 + b"r", "by P95, the most first")
    assert [line.split()[0] for line in lines[4:7]] == ["r39", "r38", "r37"]
    assert " 39  " in lines[4], "a robot that was full is no error"
    lines = screen(b"\x1b[B\x1b[B\r", "Robots: r37")
    assert any(line.startswith("places_total ") for line in lines) and any(r"S\x1b[31m-1" in line for line in lines), "its sessions, and nothing obeyed"
    lines = screen(b"\x1b", "by P95")
    lines = screen(b"\x1b[6~" * 9, "r0 ")
    assert lines[-4].startswith("r0 ") or lines[-3].startswith("r0 "), "it scrolls to the end and no further"
    lines = screen(b"/r12", "/r12_")
    assert [line.split()[0] for line in lines[4:-2] if line] == ["r12"]
    screen(b"\r", "/r12")
    assert screen(b"3", "BATCH")[4].split()[:2] == ["7", "running"]
    assert "robot_error" in screen(b"6", "ERROR")[4]
    screen(b"\r", "queued")
    assert screen(b"4/12\r", "COMPANY")[4].split()[:2] == ["5", "12"]
    wait_until(lambda: any(query.get("search") == ["12"] for _, path, query, _, _ in screen.broker.asked if path.endswith("/jobs")), 5, "the broker searches")
    assert "PgDn" in "\n".join(screen(b"?", "another tab"))
    screen(b"?", "COMPANY")
    screen(b"\x1b[Z", "Batches")
    screen(b"5", "SESSION")
    fcntl.ioctl(screen.terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    wait_until(lambda: all(len(line) <= 60 for line in frames(screen.terminal.read(0.3))[-1]), 20, "it follows the terminal's size")


def test_colours_only_where_they_are_wanted(screen, tmp_path):
    conf = tmp_path / "watch.conf"
    for environment, wanted in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "xterm", "NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)):
        terminal = Terminal(conf, "jobs", "list", environment=environment)
        text = terminal.read(30)
        assert ("\033[31mfailed\033[0m" in text) is wanted and "failed" in text, environment
        assert terminal.end() == 0
    piped = subprocess.run([program("chasqui"), "-c", conf, "jobs", "list"], capture_output=True, text=True, check=True, env=clean_env())
    assert "failed" in piped.stdout and "\033" not in piped.stdout


def test_the_screen_outlives_the_broker_and_ctrl_c_puts_it_back(told):
    system, conf = told
    terminal = Terminal(conf, "stats", "--watch")
    terminal.read(0.5)
    system.brokers[0].kill9()
    wait_until(lambda: "no broker answers at " in terminal.read(0.3), 10, "it is said")
    system.brokers[0].start()
    wait_until(lambda: "All is well" in frames(terminal.read(1))[-1][1], 15)
    terminal.popen.send_signal(signal.SIGINT)
    text = terminal.read(30)
    assert terminal.end() == 0 and text.rstrip().endswith("\033[?25h\033[?1049l")


def test_no_terminal_no_screen(told):
    system, conf = told
    assert "--watch needs a terminal" in system.ctl("stats", "--watch", conf=conf, check=False).stderr
    live = subprocess.Popen([program("chasqui"), "-c", conf, "stats", "--watch", "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_env())
    assert all(json.loads(live.stdout.readline())["ok"] for _ in range(2))
    live.terminate()
    assert live.wait(5) == 0


class Lines:
    """A stream of a process, line by line; one that does not come fails the test instead of holding it up."""

    def __init__(self, stream):
        self.lines = queue.SimpleQueue()
        threading.Thread(target=lambda: [self.lines.put(line) for line in stream], daemon=True).start()

    def next(self, seconds=20):
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            pytest.fail(f"no line came for {seconds} s")


@pytest.fixture
def follow(told):
    """follow("--json") runs `chasqui events`, at the longest until the test ends."""
    made = []

    def make(*words):
        command = [program("chasqui"), "-c", told[1], "events", *words]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=clean_env()))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


@pytest.mark.long(15)
def test_events(told, follow):
    system, _ = told
    live = follow()
    said, complained = Lines(live.stdout), Lines(live.stderr)
    wait_until(lambda: system.metric("chasqui_sse_active") == 1, 20)
    system.api.execute(20131).expect(200)
    lines = sorted(said.next().split("Z  ")[1] for _ in range(2))
    assert re.fullmatch(r"job +\d+  done  company 20131\n", lines[0]) and re.fullmatch(r"session  of job \d+  active  company 20131\n", lines[1])
    # portals and pauses, from two summaries after one another
    wait_until(lambda: system.ops.get("/api/v1/ops/stats").expect(200).json["queue"], 30, "a summary came")
    for words, what in ((("--portal", "sunat"), "portal sunat"), ((), "the queue")):
        system.ctl("queue", "pause", *words, "--reason", "it is down", "--for", "30m")
        assert re.search(rf"Z  pause    {what}  begun  by token:\S+ .*until 20\S+Z: it is down\n$", said.next(60))
        system.ctl("queue", "resume", *words)
        assert re.search(rf"Z  pause    {what}  ended  by token:\d+:", said.next(60))
    system.database.execute("INSERT INTO chasqui_portals (portal, state, since_us, why) VALUES ('elsewhere', 'tripped', UNIX_TIMESTAMP() * 1000000, '12 of 12 failed')")
    assert said.next(60).endswith("Z  portal   elsewhere  tripped  12 of 12 failed\n")
    system.database.execute("DELETE FROM chasqui_portals WHERE portal = 'elsewhere'")
    assert said.next(60).endswith("Z  portal   elsewhere  up\n")
    system.brokers[0].kill9()
    assert "connection was lost" in complained.next()
    system.brokers[0].start()
    assert "connected again" in complained.next()
    live.terminate()
    live.wait(20)
    system.wait_ready()
    wait_until(lambda: system.metric("chasqui_sse_active") == 0, 20, "the broker knows that the first one is gone")
    told_json = follow("--json")
    said = Lines(told_json.stdout)
    wait_until(lambda: system.metric("chasqui_sse_active") == 1, 20)
    system.api.execute(20132).expect(200)
    event = json.loads(said.next())
    assert event["event"] in ("job", "session") and event["data"]["company_id"] == 20132 and event["at"].endswith("Z")


def test_without_a_good_token(told):
    system, _ = told
    conf = system.directory / "none.conf"
    conf.write_text(f'ctl\n    ops_url = "{system.ops_url}"\n    token = "1|no"\n')
    for words in (("stats",), ("events",)):
        done = system.ctl(*words, conf=conf, check=False)
        assert done.returncode == 1 and "unauthenticated: " in done.stderr


def test_doctor_says_what_is_wrong_now_and_what_to_do(system):
    ready(system)
    system.healthd.kill9()
    told = wait_until(lambda: "healthd_silent" in (now := system.ctl("doctor").stdout) and now, 6)
    assert re.search(r"^note    healthd_silent: No healthd has been heard for (\d+|< 1) s", told, re.M)
    assert "        do: Start chasqui-healthd.\n" in told and "every promise holds" in told
    system.healthd.start()
