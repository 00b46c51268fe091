# SPDX-License-Identifier: MIT
"""The Debian packages of `make deb`: what is in them, what they ask for, and what their scripts do. Needs no root and installs nothing."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBS = Path(os.environ.get("CHASQUI_BUILD", ROOT / "build")) / "deb"
DAEMONS = ["broker", "dispatcher", "healthd"]


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def packages():
    found = {path.name.partition("_")[0]: path for path in DEBS.glob("*.deb") if "-dbgsym_" not in path.name}
    assert set(found) == {"chasqui", "chasqui-doc", *(f"chasqui-{role}" for role in DAEMONS)}
    return found


def files(deb):
    rows = re.findall(r"^(\S{10}) (\S+) +(\d+) \S+ \S+ \.(/\S*)", run("dpkg-deb", "-c", deb), re.M)
    return {path: (mode, owner) for mode, owner, _, path in rows}


def control(deb, tmp_path):
    run("dpkg-deb", "-e", deb, tmp_path)
    return {path.name: path.read_text() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("role", DAEMONS)
def test_a_daemon(packages, tmp_path, role):
    name = f"chasqui-{role}"
    have, said = files(packages[name]), control(packages[name], tmp_path / "c")
    assert f"/usr/bin/{name}" in have and f"/usr/share/man/man8/{name}.8.gz" in have
    (unit,) = [path for path in have if path.endswith(f"/{name}.service")]
    assert f"/usr/lib/sysusers.d/{name}.conf" in have
    assert not [path for path in have if path.startswith("/etc/") and not path.endswith("/")], "the configuration is the package chasqui's"
    run("dpkg-deb", "-x", packages[name], tmp_path / "x")
    text = (tmp_path / "x" / unit.lstrip("/")).read_text()
    assert f"ExecStart=/usr/bin/{name} -c /etc/chasqui/chasqui.conf" in text and "@BIN@" not in text
    assert (tmp_path / f"x/usr/lib/sysusers.d/{name}.conf").read_text().startswith(f"u {name} ")
    assert "systemd-sysusers" in said["postinst"] and f"'{name}.service'" in said["postinst"]
    assert "try-restart" in said["postinst"] and not re.search(r"deb-systemd-invoke start\b", said["postinst"])
    depends = re.search(r"^Depends: (.*)$", said["control"], re.M)[1]
    assert "chasqui (>= " in depends  # a newer command comes first, and migrates
    assert ("mariadb" in depends) == (role == "dispatcher") and ("libcurl" in depends) == (role != "broker") and ("libmicrohttpd" in depends) == (role == "broker")
    assert run(tmp_path / f"x/usr/bin/{name}", "--version").strip()


def test_the_command_and_its_configuration(packages, tmp_path):
    have, said = files(packages["chasqui"]), control(packages["chasqui"], tmp_path / "c")
    for path in ("/usr/bin/chasqui", "/etc/chasqui/chasqui.conf", "/usr/share/chasqui/chasqui.conf", "/usr/share/man/man1/chasqui.1.gz",
                 "/usr/share/man/man5/chasqui.conf.5.gz", "/usr/share/bash-completion/completions/chasqui"):  # fmt: skip
        assert path in have, path
    assert [path for path in have if re.search(r"/migrations/\d+_\w+\.sql$", path)]
    assert said["conffiles"].split() == ["/etc/chasqui/chasqui.conf"]
    assert all(owner == "root/root" for _, owner in have.values())
    run("dpkg-deb", "-x", packages["chasqui"], tmp_path / "x")
    assert "migrate" in run(tmp_path / "x/usr/bin/chasqui", "--help")


def test_the_documents(packages):
    have = files(packages["chasqui-doc"])
    assert [path for path in have if "openapi.json" in path] and [path for path in have if "two-hosts.md" in path]
    assert [path for path in have if "/examples/nginx/chasqui.conf" in path] and [path for path in have if "/examples/haproxy/" in path]


def test_lintian_finds_nothing():
    (changes,) = DEBS.glob("*.changes")
    done = subprocess.run(["lintian", "--profile", "debian", "--fail-on", "error,warning", changes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
