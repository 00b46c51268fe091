# SPDX-License-Identifier: MIT
"""wrk against one contender: what it was told, as a dict of numbers.

{"rate", "mib_s", "p50_us", "p99_us", "p999_us", "max_us", "errors"}
"""

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def wrk(url, script, words, *, connections, seconds):
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", HERE / script, url, "--", *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line, f"wrk: {done.stdout}{done.stderr}"
    told = json.loads(line.removeprefix("RESULT "))
    took_s = told["duration_us"] / 1e6
    return {
        "requests": told["requests"],
        "rate": told["requests"] / took_s,
        "mib_s": told["bytes"] / took_s / (1 << 20),
        "p50_us": told["p50_us"],
        "p99_us": told["p99_us"],
        "p999_us": told["p999_us"],
        "max_us": told["max_us"],
        "errors": told["bad_status"] + told["socket_errors"],
    }


class Target:
    """Where GETs of random paths go. `paths` is a file, a path a line."""

    def __init__(self, name, url, paths, processes, token=None):
        self.name, self.url, self.paths, self.token = name, url, Path(paths), token
        self.processes = processes  # {label: [Process]} of what works for it, for usage.py

    def load(self, connections, seconds):
        words = [self.paths, self.token] if self.token else [self.paths]
        return wrk(self.url, "paths.lua", words, connections=connections, seconds=seconds)
