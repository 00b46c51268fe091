# SPDX-License-Identifier: MIT
"""`make run`: the scripts behind it, with addresses and a directory of the test's own."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Api, program, wait_until
from harness.process import clean_env
from harness.running import READY, RUN, pids, place, play, up  # noqa: F401


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ctl(place, *words):
    done = subprocess.run(
        [program("chasqui"), "-c", f"{place['RUN_DIR']}/chasqui.conf", "--json", *words], env=clean_env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.long(20)
def test_up_down_and_up_again(up, place):
    run = up()
    run.wait_log(READY, 90)
    session = run.wait_log(r"^company 20123 logged in, .*: session (\S+) on robot r[12]$").group(1)
    var = Path(place["RUN_DIR"])
    token = (var / "token").read_text().strip()
    for secret in ("token", "db.password", "chasqui.conf"):
        assert stat.S_IMODE((var / secret).stat().st_mode) == 0o600
    for log in (var / "log").iterdir():
        assert token.partition("|")[2] not in log.read_text(errors="replace")
    api = Api("http://" + place["BROKER_HTTP"], token)
    item = api.list(session).expect(200).json["items"][0]
    assert len(api.download(session, item["file_token"]).expect(200).body) == item["size"]
    assert ctl(place, "doctor")["robots_asked"]
    execute, listed, got = play(run)[:3]
    assert json.loads(execute)["ok"] and json.loads(listed)["company_id"] == 20123
    assert got == f"200 application/pdf {item['size']}"
    everyone = pids(run)
    assert set(everyone) == {"mariadb", "portal", "robot-r1", "robot-r2", "healthd", "broker", "dispatcher-1", "dispatcher-2"}
    run.signal(signal.SIGINT)
    assert run.popen.wait(60) == 0
    told = re.findall(r"^  (\S+) stopped$", run.text(), re.MULTILINE)
    assert sorted(told) == sorted(everyone) and told[0] == "broker" and told[-1] == "mariadb"
    assert not any(map(is_there, everyone.values()))

    run = up()
    run.wait_log(READY, 90)
    run.wait_log("^company 20123 ")
    assert (var / "token").read_text().strip() == token
    assert "nothing to do" in run.text() and "made keys" not in run.text()
    assert len(ctl(place, "worker", "list")["workers"]) == 2
    assert [one["name"] for one in ctl(place, "token", "list")["tokens"]] == ["make run"]
    assert run.stop(timeout=60) == 0
    assert not any(map(is_there, pids(run).values()))


def test_what_is_killed_is_started_again(up, place):
    run = up()
    run.wait_log(READY, 90)
    token = (Path(place["RUN_DIR"]) / "token").read_text().strip()
    api = Api("http://" + place["BROKER_HTTP"], token)
    for name, pid in pids(run).items():
        before = run.mark()
        os.kill(pid, signal.SIGKILL)
        run.wait_log(rf"^{name} \(pid {pid}\) was killed by SIGKILL\n  started again as pid \d+$", 40, before)

    def served():
        return api.execute(20124, params={"ruc": "1", "usuario": "U", "clave": "c"}).status == 200

    wait_until(served, 40, "a log-in after all of it")
    wait_until(lambda: ctl(place, "doctor")["ok"], 20, "doctor is content")


def test_one_run_at_a_time_and_none_on_a_taken_port(up, place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        run = up(BROKER_OPS=where)
        assert run.popen.wait(30) == 1
        assert f"{where} cannot be used" in run.text() and "BROKER_OPS=" in run.text()
        assert pids(run) == {}
        run.expect_death()
    first = up()
    first.wait_log(READY, 90)
    second = up()
    assert second.popen.wait(30) == 1
    assert f"running here already (pid {first.pid})" in second.text()
    second.expect_death()
    first.kill9()
    wait_until(lambda: not any(map(is_there, pids(first).values())), 20, "nothing is left of a killed run")
    up().wait_log(READY, 90)


def test_with_robots_of_ones_own(up, place, robot_factory):
    robots = [robot_factory(f"mine-{number}", login_ms="5-15") for number in (1, 2)]
    run = up(ROBOTS=" ".join(robot.url + "/" for robot in robots))
    run.wait_log(READY, 90)
    assert "portal" not in pids(run) and "robot-r1" not in pids(run)
    told = ctl(place, "worker", "list")["workers"]
    assert sorted(one["base_url"] for one in told) == sorted(robot.url for robot in robots)
    assert sum(len(robot.calls("login")) for robot in robots) == 1
    run.stop(timeout=60)
    run = up()
    run.wait_log(READY, 90)
    wanted = {one["name"]: one["wanted"] for one in ctl(place, "worker", "list")["workers"]}
    assert wanted == {"robot-1": "draining", "robot-2": "draining", "r1": "active", "r2": "active"}


# --- packages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """machine(installed, root=, sudo=) runs `deps` for "one two" on a machine made of scripts; answers it and the calls of apt-get."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    calls = tmp_path / "calls"

    def script(name, text):
        (fakes / name).write_text(f"#!/bin/bash\n{text}\n")
        (fakes / name).chmod(0o755)

    def run(installed, root=True, sudo=True):
        calls.write_text("")
        script("dpkg-query", f'[[ " {installed} " == *" ${{!#}} "* ]] && printf installed')
        script("apt-get", f'echo "$*" >> {calls}')
        script("id", "echo " + ("0" if root else "1000"))
        script("env", 'while [[ $1 == *=* ]]; do shift; done; exec "$@"')
        script("sudo", f'echo sudo >> {calls}; exec "$@"')
        if not sudo:
            (fakes / "sudo").unlink()
        done = subprocess.run(
            ["/bin/bash", RUN / "deps", "one", "two"], env={"PATH": str(fakes)}, capture_output=True, text=True, check=False
        )
        return done, calls.read_text().splitlines()

    return run


def test_apt_is_called_for_what_is_missing_only(machine):
    done, calls = machine("one two")
    assert (done.returncode, done.stdout, calls) == (0, "", [])
    done, calls = machine("one")
    assert done.returncode == 0, done.stderr
    assert calls[0].startswith("update") and calls[1].startswith("install") and calls[1].endswith(" two") and len(calls) == 2
    done, calls = machine("", root=False)
    assert done.returncode == 0 and calls[0] == calls[2] == "sudo" and calls[3].endswith(" one two")


def test_without_root_and_sudo_it_says_what_to_do(machine):
    done, calls = machine("", root=False, sudo=False)
    assert done.returncode == 1 and calls == []
    assert "apt-get install --no-install-recommends one two" in done.stderr
