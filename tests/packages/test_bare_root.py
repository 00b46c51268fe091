# SPDX-License-Identifier: MIT
"""The packages in a bare Debian 12: installed, configured by the commands of README.md, started, upgraded, purged.

The root is made by mmdebstrap from this machine's own sources of packages (CHASQUI_BARE_ROOT names a tar of one that was made before).
Nothing boots in it: systemd reads and judges the units, and each program is started as its unit would, by its user and without rights.
Wants root, some minutes, and the network of the packages.
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness.http import Client
from harness.mariadb import MariaDB
from harness.ports import free_port
from harness.system import ROOT
from harness.wait import wait_until

DEBS = Path(os.environ.get("CHASQUI_BUILD", ROOT / "build")) / "deb"
PACKAGES = ["chasqui", "chasqui-broker", "chasqui-dispatcher", "chasqui-healthd"]
ROLES = ["healthd", "dispatcher", "broker"]
OLD = "0.0.9"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mmdebstrap"), reason="wants root and mmdebstrap"),
    pytest.mark.timeout(3600),
]


class Bare:
    """A root to run programs in; owns what start() began."""

    def __init__(self, path):
        self.path = path
        self.started = []

    def run(self, script, check=True):
        done = subprocess.run(["chroot", self.path, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-euc", script],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # fmt: skip
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done

    def install(self, debs, script):
        """What README.md says, the packages being in the current directory."""
        shutil.rmtree(self.path / "root/debs", ignore_errors=True)
        shutil.copytree(debs, self.path / "root/debs")
        return self.run(f"cd /root/debs; {script.replace('apt-get install', 'apt-get install -y -q --no-install-recommends')}").stdout

    def start(self, role):
        """As its unit: its user, no rights, its password from a file of its own."""
        user, env = f"chasqui-{role}", ""
        if role == "dispatcher":
            self.run(f"install -D -m 400 -o {user} /etc/chasqui/db.password /run/password")
            env = "CHASQUI_DB_PASSWORD_FILE=/run/password"
        log = open(self.path / f"root/{role}.log", "w", encoding="utf-8")
        argv = ["chroot", self.path, "env", "-i", *([env] if env else []), "setpriv", "--reuid", user, "--regid", user, "--init-groups", "--no-new-privs",
                "--bounding-set=-all", f"/usr/bin/{user}", "-c", "/etc/chasqui/chasqui.conf"]  # fmt: skip
        self.started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def stop(self):
        for process in self.started:
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(60)
        self.started.clear()


def readme_blocks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```\n(.*?)^```", text[text.index("### Install") :], re.M | re.S)


def sources():
    return [path for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
            if path.exists() and "bookworm" in path.read_text()]  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare") / "root"
    path.mkdir()
    path.parent.parent.chmod(0o755)
    path.parent.chmod(0o755)
    ready = os.environ.get("CHASQUI_BARE_ROOT")
    made = ["tar", "-xf", ready, "-C", path] if ready else ["mmdebstrap", "--variant=minbase", "--include=ca-certificates,systemd-sysv", "bookworm", path, *sources()]
    subprocess.run([*map(str, made)], check=True, capture_output=True)
    path.chmod(0o755)
    shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
    subprocess.run(["mount", "-t", "proc", "proc", path / "proc"], check=True)
    root = Bare(path)
    yield root
    root.stop()
    subprocess.run(["umount", path / "proc"], check=True)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    server = MariaDB(tmp_path_factory.mktemp("mariadb")).start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """(the packages of the version before, those of this one). The former differ in their number only."""
    new, old = tmp_path_factory.mktemp("new"), tmp_path_factory.mktemp("old")
    for name in PACKAGES:
        (deb,) = DEBS.glob(f"{name}_*.deb")
        shutil.copy(deb, new)
        version = deb.name.split("_")[1]
        unpacked = old / name
        subprocess.run(["dpkg-deb", "-R", deb, unpacked], check=True)
        control = unpacked / "DEBIAN/control"
        control.write_text(re.sub(rf"\b{re.escape(version)}\b", OLD, control.read_text()))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", unpacked, old / deb.name.replace(version, OLD)], check=True, capture_output=True)
        shutil.rmtree(unpacked)
    return old, new


def test_a_bare_host_from_the_readme_alone(bare, database, debs):
    old, new = debs
    install, sql, setup, _, upgrade = readme_blocks()[:5]
    bare.run("apt-get update -q")
    bare.install(old, install)
    for role in ROLES:
        assert bare.run(f"systemctl is-enabled chasqui-{role}").stdout.strip() == "enabled"
        bare.run(f"systemd-analyze verify --man=no /lib/systemd/system/chasqui-{role}.service")
        judged = bare.run(f"systemd-analyze security --offline=yes /lib/systemd/system/chasqui-{role}.service").stdout
        assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", judged)[1]) < 2, judged

    # The database, and where it is; the ports are free ones of this machine.
    for statement in sql.split(";"):
        if statement.strip():
            database.sql(statement)
    conf = bare.path / "etc/chasqui/chasqui.conf"
    http, ops, bind, pub, control = (free_port() for _ in range(5))
    conf.write_text(conf.read_text().replace('host = "127.0.0.1"', f'host = "127.0.0.1:{database.port}"') + f"""
broker
    http = "127.0.0.1:{http}"
    ops = "127.0.0.1:{ops}"
    bind = "tcp://127.0.0.1:{bind}"
dispatcher
    brokers = "tcp://127.0.0.1:{bind}"
healthd
    bind = "tcp://127.0.0.1:{pub}"
    control = "tcp://127.0.0.1:{control}"
health
    endpoints = "tcp://127.0.0.1:{pub}"
    control = "tcp://127.0.0.1:{control}"
""")
    setup = setup.replace("http://10.0.0.7:9000", f"http://127.0.0.1:{free_port()}")  # no robot
    before, start, after = setup.partition(re.search(r"^systemctl start .*\n", setup, re.M)[0])
    told = bare.run(before).stdout
    assert start and all(f"user: chasqui-{role}" in told and f"the keys of {role} in /etc/chasqui/curve can be read" in told for role in ROLES), told
    assert "database: " in told and "connected" in told

    # Each secret is readable by exactly its unit.
    for path in [*(bare.path / "etc/chasqui/curve").glob("*_secret"), *(bare.path / "etc/chasqui/curve").glob("[svw]*.key")]:
        owner = {"broker": "chasqui-broker", "healthd": "chasqui-healthd", "ctl": "root"}.get(path.name.partition(".")[0], "chasqui-dispatcher")
        assert bare.run(f"stat -c '%U %a' /etc/chasqui/curve/{path.name}").stdout == f"{owner} 400\n", path
    bare.run("chown root /etc/chasqui/curve/broker.key_secret")
    refused = bare.run("chasqui-broker --check", check=False)
    assert refused.returncode == 1 and "broker.key_secret" in refused.stderr, refused
    bare.run("chown chasqui-broker /etc/chasqui/curve/broker.key_secret")

    for role in ROLES:
        bare.start(role)
    wait_until(lambda: Client(f"http://127.0.0.1:{ops}").get("/readyz").status == 200, 120, "the broker is ready")
    assert "every promise holds" in bare.run(after).stdout
    bare.stop()

    # Upgrade: what was written stays, and is still good.
    kept = {path: path.read_bytes() for path in (bare.path / "etc/chasqui").rglob("*") if path.is_file()}
    assert f"over ({OLD})" in bare.install(new, upgrade)
    assert kept == {path: path.read_bytes() for path in (bare.path / "etc/chasqui").rglob("*") if path.is_file()}
    for role in ROLES:
        bare.run(f"chasqui-{role} --check")

    # Purge: what is left is what the administrator made, and the users.
    bare.run(f"apt-get purge -y -q {' '.join(PACKAGES)}")
    left = {str(path.relative_to(bare.path)) for top in ("etc", "usr", "lib", "var") for path in (bare.path / top).rglob("*chasqui*")}
    assert left == {"etc/chasqui"}, left
    assert sorted(path.name for path in (bare.path / "etc/chasqui").iterdir()) == ["curve", "db.password"]
