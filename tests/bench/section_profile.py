# SPDX-License-Identifier: MIT
"""Where the time of a list goes: perf over each of Chasqui's processes, and its system calls, at 64 connections."""

import re
import shutil
import subprocess

from load import Target
from section_list import LIST

TITLE = "Profile of the list path"
CONNECTIONS = 64
ROWS = 16
CALLS = 10


def perf(process, seconds, file):
    return subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-p", str(process.pid), "-o", str(file),
                             "--", "sleep", str(seconds)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def reported(file, sort):
    return subprocess.run(["perf", "report", "-i", str(file), "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.4",
                           "--sort", sort], capture_output=True, text=True, check=False).stdout  # fmt: skip


def shares(file):
    """[(percent, library, symbol)], by self time."""
    rows = re.findall(r"^ +([\d.]+)% +(\S+) +\[.\] (\S+)", reported(file, "dso,symbol"), re.M)
    return [(float(percent), library, symbol) for percent, library, symbol in rows if not symbol.startswith("0x")]


def by_library(file):
    """[(library, percent)]; the kernel's part is system calls and what they wake."""
    rows = re.findall(r"^ +([\d.]+)% +(\S+)", reported(file, "dso"), re.M)
    return [(library.split(".so")[0].strip("[]").replace(".kallsyms", ""), float(percent)) for percent, library in rows]


def calls(process, target, seconds):
    """{name: calls for each request}; strace makes all of it slower, but the counts hold."""
    tracer = subprocess.Popen(["strace", "-c", "-f", "-p", str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = target.load(CONNECTIONS, seconds)
    tracer.send_signal(2)
    text = tracer.communicate()[1]
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", text, re.M)
    counts = {name: int(n) / max(1, told["requests"]) for n, name in rows if name != "total"}
    return dict(sorted(counts.items(), key=lambda one: -one[1])[:CALLS])


def run(lab):
    chasqui = lab.chasqui
    target = Target("chasqui", chasqui.api_url(), lab.paths(LIST, lab.ids), chasqui.labels(), chasqui.token)
    target.load(CONNECTIONS, 1)
    result = {}
    watched = {"broker": chasqui.broker, "dispatcher": chasqui.dispatcher}
    for name, process in watched.items() if shutil.which("perf") else ():
        file = lab.room(f"perf-{name}")
        tracer = perf(process, lab.options.seconds, file)
        target.load(CONNECTIONS, lab.options.seconds + 1)
        tracer.wait()
        result[name] = {"libraries": by_library(file), "symbols": shares(file)[:ROWS]}
        lab.say(f"  {name}: " + ", ".join(f"{library} {percent:.0f} %" for library, percent in result[name]["libraries"][:8]))
        for percent, library, symbol in result[name]["symbols"]:
            lab.say(f"    {percent:5.1f} %  {library:<24}{symbol}")
    for name, process in watched.items() if shutil.which("strace") else ():
        counts = calls(process, target, 2)
        result.setdefault(name, {})["calls"] = counts
        lab.say(f"  {name}: " + ", ".join(f"{call} {n:.2f}" for call, n in counts.items()) + " calls a request")
    return result
