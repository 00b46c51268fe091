# SPDX-License-Identifier: MIT
"""What machine this is and which versions ran, for the table's head."""

import os
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {  # name: command, what to take of what it prints
    "MariaDB": (["mariadbd", "--version"], r"Ver ([\w.]+)"),
    "nginx": (["nginx", "-v"], r"nginx/([\d.]+)"),
    "HAProxy": (["haproxy", "-v"], r"version ([\d.]+)"),
    "PHP": (["php-fpm8.2", "-v"], r"PHP ([\d.]+)"),
    "wrk": (["wrk", "-v"], r"wrk (?:debian/)?([\d.]+)"),
    "beanstalkd": (["beanstalkd", "-v"], r"([\d.]+)"),
    "Redis": (["redis-server", "--version"], r"v=([\d.]+)"),
    "Node": (["node", "--version"], r"v([\d.]+)"),
    "gcc": (["gcc", "--version"], r"([\d.]+)$"),
}


def said(command):
    env = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout + done.stderr


def version(name):
    command, pattern = VERSIONS[name]
    found = re.search(pattern, said(command), re.M)
    return found.group(1) if found else "?"


def of_file(path, pattern, default="?"):
    found = re.search(pattern, Path(path).read_text(errors="replace"), re.M) if Path(path).exists() else None
    return found.group(1).strip() if found else default


def facts():
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": said(["git", "rev-parse", "--short=12", "HEAD"]).strip() or "?",
        "cpu": of_file("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(of_file("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")) / (1 << 20)),
        "system": of_file("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
        "kernel": os.uname().release.split("-")[0],
        "load_before": os.getloadavg()[0],
        "versions": {name: version(name) for name in VERSIONS},
    }
