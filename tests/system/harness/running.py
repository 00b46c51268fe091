# SPDX-License-Identifier: MIT
"""`make run`: its script, with addresses and a directory of the test's own, and the commands that it prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .ports import free_port
from .process import Process, clean_env
from .system import ROOT, program

RUN = ROOT / "tests" / "run"
READY = r"^Ctrl-C stops everything"


@pytest.fixture
def place(tmp_path):
    """The environment of one place to run in."""
    local = "127.0.0.1:{}".format
    return {
        "RUN_DIR": str(tmp_path / "var"),
        "BROKER_HTTP": local(free_port()),
        "BROKER_OPS": local(free_port()),
        "BROKER_BIND": "tcp://" + local(free_port()),
        "HEALTHD_BIND": "tcp://" + local(free_port()),
        "HEALTHD_CONTROL": "tcp://" + local(free_port()),
        "DEMO_PORTAL": local(free_port()),
        "DEMO_ROBOT_1": local(free_port()),
        "DEMO_ROBOT_2": local(free_port()),
    }


@pytest.fixture
def up(tmp_path, place):
    """up() starts `make run`'s script; whatever is still there at the end is stopped."""
    made = []

    def start(**more):
        run = Process(f"run-{len(made) + 1}", [sys.executable, RUN / "up.py"], tmp_path / f"run-{len(made) + 1}.log",
                      env={"CHASQUI_BUILD": str(program("chasqui").parent), **place, **more})  # fmt: skip
        made.append(run)
        return run.start()

    yield start
    for run in made:
        if run.alive():
            run.stop(timeout=60)


def pids(run):
    return {name: int(pid) for name, pid in re.findall(r"^  (\S+) +pid (\d+)", run.text(), re.MULTILINE)}


def play(run):
    """Types what `make run` printed under "Try next" into a shell, all of it in order. Answers what each curl printed."""
    printed = run.text().partition("Try next, in another terminal:")[2].partition("# kill anything")[0]
    commands = "\n".join(line for line in printed.splitlines() if not line.startswith("  http"))
    marked = re.sub(r"^  curl ", "  printf '\\n@@@\\n'; curl ", commands, flags=re.MULTILINE)
    marked = marked.replace(" -OJ ", " -o /dev/null -w '%{http_code} %{content_type} %{size_download}\\n@@@\\n' ")
    done = subprocess.run(["bash", "-eu", "-c", marked], env=clean_env(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return [part.strip() for part in done.stdout.split("@@@")[1:]]
