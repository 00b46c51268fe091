# SPDX-License-Identifier: MIT
"""The surroundings of a run: a temporary directory, a private MariaDB with durable settings, two robots, one Chasqui with a
thousand sessions. Owns them until close(). A section that needs more makes it and ends it by itself."""

import shutil
import sys
import tempfile
from pathlib import Path

from chasqui import Chasqui
from harness import MariaDB, System
from robots import Robots

SESSIONS = 1000


class Lab:
    def __init__(self, options):
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="chasqui-bench-"))
        self.parts = []  # in the order in which they were started
        self.n_directories = 0
        self.mariadb = self.keep(MariaDB(self.directory / "mariadb", durable=True, buffer_pool="1G",
                                         options=["--innodb-log-file-size=512M"]).start())  # fmt: skip
        self.robots = [self.keep(Robots(self.directory / f"robots-{n}", 1, network=n)) for n in (1, 2)]
        self._chasqui = self._ids = None

    def keep(self, part):
        """It is ended with the lab, unless drop() comes first."""
        self.parts.append(part)
        return part

    def drop(self, part):
        self.parts.remove(part)
        self.end(part)

    def end(self, part):
        wrong = part.close() if isinstance(part, System) else part.stop()
        if isinstance(wrong, list) and wrong:
            print("\n".join(wrong), file=sys.stderr)

    def room(self, name):
        """A directory that nobody has."""
        self.n_directories += 1
        return self.directory / f"{name}-{self.n_directories}"

    @property
    def chasqui(self):
        """The one that most sections use."""
        if not self._chasqui:
            self._chasqui = self.keep(Chasqui(self.room("chasqui"), self.mariadb, self.robots))
            self._ids = self._chasqui.log_in(SESSIONS)
        return self._chasqui

    @property
    def ids(self):
        """Its sessions."""
        return self.chasqui and self._ids

    def paths(self, path, ids):
        """A file of paths for wrk; `path` has a {id}."""
        file = self.room("paths").with_suffix(".txt")
        file.write_text("".join(path.format(id=one) + "\n" for one in ids))
        return file

    def sections_end(self):
        """What the last section left is ended; what all of them use stays."""
        shared = (self.mariadb, *self.robots, self._chasqui)
        for part in [one for one in reversed(self.parts) if one not in shared]:
            try:
                if isinstance(part, Chasqui):
                    part.wake()
                self.drop(part)
            except Exception as why:  # the others are ended all the same
                print(f"{type(part).__name__}: {why}", file=sys.stderr)

    def say(self, text):
        print(text, flush=True)

    def close(self):
        for part in reversed(self.parts):
            try:
                self.end(part)
            except Exception as why:  # the others are ended all the same
                print(f"{type(part).__name__}: {why}", file=sys.stderr)
        if self.options.keep:
            print(f"kept: {self.directory}", file=sys.stderr)
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.mariadb.short, ignore_errors=True)
