# SPDX-License-Identifier: MIT
"""A private MariaDB: one server in one directory, on a port of its own.

Owns datadir, socket and process. The server is made once (an installation takes a second) and kept for many tests, each
with a fresh database. `durable=False` trades the last second before a *machine's* crash for speed (the log is written at each
commit, but not synced): killing the server alone still loses nothing, as a test that kills it must be able to assume.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pymysql.cursors

from .ports import kept_port
from .process import Process
from .wait import wait_until


@dataclass(frozen=True)
class Database:
    host: str
    port: int
    socket: str
    user: str
    password: str
    name: str

    def connect(self, **more):
        """autocommit, rows as dicts, UTC."""
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, database=self.name,
            charset="utf8mb4", autocommit=True, cursorclass=pymysql.cursors.DictCursor,
            init_command="SET time_zone='+00:00'", **more,
        )  # fmt: skip

    def rows(self, sql, *args):
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def row(self, sql, *args):
        """The only row, or None."""
        found = self.rows(sql, *args)
        assert len(found) <= 1, f"{len(found)} rows: {sql}"
        return found[0] if found else None

    def value(self, sql, *args):
        """The first column of the only row, or None."""
        found = self.row(sql, *args)
        return next(iter(found.values())) if found else None

    def execute(self, sql, *args):
        """Answers the number of rows changed."""
        with self.connect() as connection, connection.cursor() as cursor:
            return cursor.execute(sql, args)


class MariaDB:
    def __init__(self, directory, *, durable=False, port=None, buffer_pool="64M", options=()):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.datadir = self.directory / "data"
        self.port = port or kept_port()
        self.short = tempfile.mkdtemp(prefix="chasqui-db-")  # a socket's path may have 107 bytes
        self.socket = os.path.join(self.short, "db.sock")
        self.process = Process(
            "mariadb",
            [
                shutil.which("mariadbd") or "/usr/sbin/mariadbd",
                "--no-defaults",
                f"--datadir={self.datadir}",
                f"--socket={self.socket}",
                f"--pid-file={self.short}/db.pid",
                f"--tmpdir={self.short}",  # a server that starts removes all temporary tables there, another server's too, which then crashes
                "--skip-networking=0",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                "--skip-name-resolve",
                f"--innodb-flush-log-at-trx-commit={1 if durable else 2}",
                f"--innodb-buffer-pool-size={buffer_pool}",
                "--max-connections=500",
                "--performance-schema=OFF",
                *self.as_user(),
                *options,
            ],
            self.directory / "mariadb.log",
        )
        self.durable = durable

    @staticmethod
    def as_user():
        return ["--user=root"] if os.getuid() == 0 else []

    def install(self):
        """Makes the datadir if it is not there yet."""
        if (self.datadir / "mysql").exists():
            return
        done = subprocess.run(
            [
                "mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db",
                f"--datadir={self.datadir}", *self.as_user(),
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env={**os.environ, "TMPDIR": str(self.directory)},  # two at once must not meet in /tmp
        )  # fmt: skip
        assert done.returncode == 0, f"mariadb-install-db: {done.stdout}{done.stderr}"

    def start(self, timeout=30):
        self.install()
        Path(self.short).mkdir(exist_ok=True)
        self.process.start()
        return self.wait_ready(timeout)

    def wait_ready(self, timeout=30):
        def answers():
            assert self.process.alive(), f"mariadbd ended\n{self.process.tail()}"
            try:
                self.root().close()
                return True
            except pymysql.MySQLError as why:
                raise AssertionError(str(why)) from None

        wait_until(answers, timeout, "mariadb answers")
        return self

    def ensure_running(self):
        """For a server that tests share, one of which may have killed or paused it. One that ended by itself runs again, and that is a failure."""
        if self.process.alive():
            self.process.resume()
            return self.wait_ready()
        ended = self.process.died_unexpectedly() and f"mariadbd ended by itself {self.process.deaths}\n{self.process.tail(80)}"
        self.process.deaths.clear()
        self.start()
        assert not ended, ended
        return self

    def kill9(self):
        self.process.kill9()

    def restart(self):
        self.stop()
        return self.start()

    def stop(self):
        self.process.stop(timeout=60)

    def close(self):
        """Ends it for good. What is not durable is not worth an orderly shutdown."""
        if self.durable:
            self.stop()
        else:
            self.process.kill9()
        shutil.rmtree(self.short, ignore_errors=True)

    def root(self, **more):
        return pymysql.connect(unix_socket=self.socket, user="root", autocommit=True, **more)

    def sql(self, text):
        """Runs one statement as root; answers its rows."""
        with self.root(cursorclass=pymysql.cursors.DictCursor) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def create_database(self, name=None, user="chasqui", password=None):
        """A fresh database. Without a password the user keeps the one of this server's first call."""
        name = name or f"chasqui_{secrets.token_hex(5)}"
        password = password or getattr(self, "_password", None) or secrets.token_hex(12)
        self._password = password
        self.sql(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4")
        for host in ("127.0.0.1", "localhost"):
            self.sql(f"CREATE OR REPLACE USER '{user}'@'{host}' IDENTIFIED BY '{password}'")
            self.sql(f"GRANT ALL ON `chasqui%`.* TO '{user}'@'{host}'")
            self.sql(f"GRANT ALL ON `{name}`.* TO '{user}'@'{host}'")
        return Database("127.0.0.1", self.port, self.socket, user, password, name)

    def drop_database(self, database):
        self.sql(f"DROP DATABASE IF EXISTS `{database.name}`")
