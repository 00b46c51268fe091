# SPDX-License-Identifier: MIT
"""What processes use: processor time to the microsecond, and memory. From /proc, children included."""

from pathlib import Path


def pids(process):
    """A process and all below it (PHP-FPM's and nginx's workers)."""
    found, todo = [], [process.pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def cpu_us(process):
    """Of all its threads, in the kernel and out of it."""
    total = 0
    for pid in pids(process):
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) // 1000
        except OSError:
            continue
    return total


def memory_kib(process, field="VmRSS"):
    """Resident now (VmRSS), or at most since peak_forget() (VmHWM)."""
    total = 0
    for pid in pids(process):
        try:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total


def peak_forget(process):
    for pid in pids(process):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


class Meter:
    """Processor time of labelled processes over a stretch: start(), then per(n) = microseconds for each of n by label."""

    def __init__(self, processes):
        self.processes = processes
        self.before = {}

    def read(self):
        return {label: sum(map(cpu_us, some)) for label, some in self.processes.items()}

    def start(self):
        self.before = self.read()
        return self

    def per(self, n):
        return {label: (now - self.before[label]) / max(1, n) for label, now in self.read().items()}

    def memory(self):
        return {label: sum(map(memory_kib, some)) for label, some in self.processes.items()}
