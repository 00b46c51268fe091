# SPDX-License-Identifier: MIT
"""Waiting on conditions. The only place of the harness that lets time pass; a wait ends by its condition or by its deadline."""

import os
import threading
import time

POLL_S = 0.01
# How much longer than on a quiet machine things may take: tests run beside each other, and not alone. make check-browser: 1.
PATIENCE = float(os.environ.get("CHASQUI_PATIENCE", "3"))


class TimedOut(AssertionError):
    pass


class Pulse(threading.Thread):
    """Finds out when this machine stands still, by waking far too late."""

    BEAT_S, LATE_S = 0.05, 0.25

    def __init__(self):
        super().__init__(daemon=True)
        self.lost_s, self.beat_at = 0.0, time.monotonic()
        self.lock = threading.Lock()
        self.start()

    def run(self):
        while True:
            time.sleep(self.BEAT_S)
            with self.lock:
                now = time.monotonic()
                self.lost_s += self.late_s(now)
                self.beat_at = now

    def late_s(self, now):
        late = now - self.beat_at - self.BEAT_S
        return late if late > self.LATE_S else 0.0

    def ran_s(self):
        with self.lock:
            now = time.monotonic()
            return now - self.lost_s - self.late_s(now)


_pulse = Pulse()


def ran_s():
    """A clock for measuring how long something took: time.monotonic() without the times in which this machine stood still."""
    return _pulse.ran_s()


def wait_until(condition, timeout=10, what=None, every=POLL_S):
    """Calls condition() until it answers something true, and answers that; `timeout` is of a quiet machine. An AssertionError, KeyError or OSError it
    raises means "not yet"; the last one is shown when the deadline passes."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value: {value!r}"
        except (AssertionError, KeyError, IndexError, OSError) as why:
            last = f"last failure: {why!r}"
        if time.monotonic() >= deadline:
            raise TimedOut(f"after {timeout} s still not: {what or condition}; {last}")
        time.sleep(every)


def last_before(call, status, timeout=10):
    """Asks until the answer has that status. Answers how long after the first question the last one was asked that was answered otherwise: what a stall
    of this machine adds to an answer is not in it."""
    began, last = time.monotonic(), 0.0

    def is_so():
        nonlocal last
        asked = time.monotonic() - began
        got = call().status
        last = last if got == status else asked
        return got == status

    wait_until(is_so, timeout, f"the answer is {status}")
    return last


def stays(condition, seconds, what=None, every=POLL_S):
    """Fails as soon as condition() is false within the time: for what must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what or condition}"
        time.sleep(every)
