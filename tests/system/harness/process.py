# SPDX-License-Identifier: MIT
"""One child process with its log.

Owns the child from start() to stop(): it is ended by its pid and nothing else, and ends with the harness if that is killed.
A child that ends without having been told is remembered (died_unexpectedly), for the teardown to fail the test.
"""

import ctypes
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from .wait import wait_until

SANITIZER = re.compile(rb"ERROR: (?:Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:handle_abort=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
_libc = ctypes.CDLL(None)


def clean_env(extra=None):
    """Our environment without CHASQUI_*, which would overrule configuration files."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CHASQUI_")}
    return {**env, **{name: env.get(name, value) for name, value in SANITIZER_ENV.items()}, **(extra or {})}


def die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    own_session = False  # True: Ctrl-C at the terminal does not reach it, whoever started it stops it

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name = name
        self.argv = [str(word) for word in argv]
        self.log = Path(log)
        self.env = env or {}
        self.cwd = cwd
        self.popen = None
        self.started_at = 0  # the log's size when this life began
        self.told_to_end = False
        self.may_die = False  # expect_death() was called for this life
        self.deaths = []  # exit codes of lives that ended by themselves

    # --- life --------------------------------------------------------------------------------------------------

    def start(self):
        assert not self.alive(), f"{self.name} runs already"
        self.note_death()
        self.told_to_end = self.may_die = False
        with open(self.log, "ab") as log:
            self.started_at = log.tell()
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=clean_env(self.env),
                cwd=self.cwd, start_new_session=self.own_session,
                # The signal comes when the *thread* that forked ends, so only the main thread may ask for it.
                preexec_fn=die_with_parent if threading.current_thread() is threading.main_thread() else None,
            )  # fmt: skip
        return self

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number):
        assert self.alive(), f"{self.name} does not run"
        self.popen.send_signal(number)

    def stop(self, timeout=20):
        """SIGTERM; answers the exit code. One that does not end in time is killed, and that is a failure."""
        self.note_death()
        if not self.alive():
            return self.popen and self.popen.returncode
        self.told_to_end = True
        self.popen.send_signal(signal.SIGCONT)
        self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"{self.name} did not end within {timeout} s of SIGTERM\n{self.tail()}") from None

    def kill9(self):
        self.note_death()
        self.told_to_end = True
        if self.alive():
            self.popen.kill()
            self.popen.wait()

    def restart(self):
        """After a kill9() or stop(), or stopping it first."""
        self.stop()
        return self.start()

    def pause(self):
        self.signal(signal.SIGSTOP)
        wait_until(lambda: self.status("State").startswith(("T", "t")), 5, f"{self.name} stands still")

    def resume(self):
        self.signal(signal.SIGCONT)

    def expect_death(self):
        """Until it is started again its end by itself, with any code, is no failure of the test."""
        self.told_to_end = self.may_die = True

    def note_death(self):
        if self.popen and self.popen.poll() is not None and not self.told_to_end:
            self.deaths.append(self.popen.returncode)
            self.told_to_end = True

    def died_unexpectedly(self):
        self.note_death()
        return bool(self.deaths)

    # --- what it says ------------------------------------------------------------------------------------------

    def text(self, start=None):
        """Its log since it was last started, or since a mark()."""
        try:
            with open(self.log, "rb") as log:
                log.seek(self.started_at if start is None else start)
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def mark(self):
        """A place in the log for text() and wait_log()."""
        return self.log.stat().st_size if self.log.exists() else 0

    def wait_log(self, pattern, timeout=10, start=None):
        """Waits for a line that matches and answers the match; fails at once when the process ends first."""
        wanted = re.compile(pattern, re.MULTILINE)

        def look():
            ended = not self.alive()
            found = wanted.search(self.text(start))
            if ended and not found:
                raise RuntimeError(f"{self.name} ended (code {self.popen.returncode}) before {pattern!r}\n{self.tail()}")
            return found

        return wait_until(look, timeout, f"{self.name} says {pattern!r}\n{self.tail()}")

    def tail(self, lines=40):
        return f"--- {self.name}\n" + "\n".join(self.text(0).splitlines()[-lines:])

    def sanitizer_report(self):
        """The log from its first sanitizer report on, or None."""
        data = self.log.read_bytes() if self.log.exists() else b""
        found = SANITIZER.search(data)
        return data[max(0, found.start() - 200) : found.start() + 4000].decode("utf-8", "replace") if found else None

    # --- what it uses ------------------------------------------------------------------------------------------

    def status(self, field):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        raise KeyError(field)

    def rss_kib(self):
        return int(self.status("VmRSS").split()[0])

    def peak_kib(self):
        return int(self.status("VmHWM").split()[0])

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_s(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
