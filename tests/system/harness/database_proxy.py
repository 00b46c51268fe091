# SPDX-License-Identifier: MIT
"""A fault injector for the database: a TCP proxy that understands MariaDB's client protocol.

It stands between dispatchers (or the command) and the server, forwards packet by packet, and can

- answer a statement that matches with any error number, before the server sees it: proxy.inject("UPDATE portal_jobs", error=1452);
- lose a statement: do="cut" (the connection breaks before it), do="cut_after" (the server has done it, the answer is lost),
  do="hang" (no answer ever comes on that connection);
- hold a statement back for a while: do="late", late_s=0.3;
- do so a few times (`times`), not at first (`skip`), at random (`chance`, with one of several numbers: error=[1213, 1205, 1047]);
- stand still as a whole (hang(), resume()), break all connections (cut()), refuse new ones (refuse = True).

Statements are known by their text whether they come as COM_QUERY, COM_STMT_PREPARE, COM_STMT_EXECUTE or as array binds; `kind` narrows a
rule to "query", "prepare" or "execute". Without TLS only. Everything is in threads of the test's own process: nothing outlives it.
"""

import random
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from .ports import free_port

QUERY, PREPARE, EXECUTE, BULK = 0x03, 0x16, 0x17, 0xFA
KINDS = {QUERY: "query", PREPARE: "prepare", EXECUTE: "execute", BULK: "execute"}
ERRORS = {  # number: (SQLSTATE, message)
    1020: ("HY000", "Record has changed since last read in table 'portal_jobs'"),
    1040: ("08004", "Too many connections"),
    1047: ("08S01", "WSREP has not yet prepared node for application use"),
    1053: ("08S01", "Server shutdown in progress"),
    1142: ("42000", "INSERT command denied to user 'chasqui'@'localhost' for table `laravel`.`portal_jobs`"),
    1205: ("HY000", "Lock wait timeout exceeded; try restarting transaction"),
    1213: ("40001", "Deadlock found when trying to get lock; try restarting transaction"),
    1243: ("HY000", "Unknown prepared statement handler (7) given to mysqld_stmt_execute"),
    1290: ("HY000", "The MariaDB server is running with the --read-only option so it cannot execute this statement"),
    1295: ("HY000", "This command is not supported in the prepared statement protocol yet"),
    1317: ("70100", "Query execution was interrupted"),
    1364: ("HY000", "Field 'tenant_id' doesn't have a default value"),
    1366: ("22007", "Incorrect string value: '\\xC3' for column `laravel`.`portal_jobs`.`message` at row 1"),
    1406: ("22001", "Data too long for column 'message' at row 1"),
    1451: ("23000", "Cannot delete or update a parent row: a foreign key constraint fails (`laravel`.`notes`, CONSTRAINT "
                    "`notes_job_id_foreign` FOREIGN KEY (`job_id`) REFERENCES `portal_jobs` (`id`))"),
    1452: ("23000", "Cannot add or update a child row: a foreign key constraint fails (`laravel`.`portal_jobs`, CONSTRAINT "
                    "`portal_jobs_company_id_foreign` FOREIGN KEY (`company_id`) REFERENCES `companies` (`id`))"),
    1461: ("42000", "Can't create more than max_prepared_stmt_count statements (current value: 16382)"),
    1615: ("HY000", "Prepared statement needs to be re-prepared"),
    1644: ("45000", "the ledger is closed"),
    1792: ("25006", "Cannot execute statement in a READ ONLY transaction"),
    1836: ("HY000", "Running in read-only mode"),
    1927: ("70100", "Connection was killed"),
    4025: ("23000", "CONSTRAINT `portal_jobs_status_check` failed for `laravel`.`portal_jobs`"),
}  # fmt: skip


@dataclass
class Rule:
    match: re.Pattern
    numbers: list
    do: str
    kind: str | None
    times: int | None
    skip: int
    chance: float
    message: str | None
    sqlstate: str | None
    late_s: float
    hits: int = 0
    seen: list = field(default_factory=list)


class Closed(Exception):
    pass


class DatabaseProxy:
    def __init__(self, host, port, seed=1):
        self.target = (host, port)
        self.port = free_port()
        self.refuse = False
        self.record = False
        self.statements = []  # (kind, text) while record is True
        self._rules, self._links = [], set()
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._go.set()
        self._random = random.Random(seed)
        self._listener = None

    # --- what a test asks for ----------------------------------------------------------------------------------

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self.clear()
        self.resume()
        if self._listener:
            self._listener.close()
        self.cut()

    def inject(self, match, *, error=None, do="error", kind=None, times=None, skip=0, chance=1.0, message=None, sqlstate=None, late_s=0.0):
        """A rule for statements whose text matches (a regular expression, anywhere, any case). Rule.hits counts."""
        assert do in ("error", "cut", "cut_after", "hang", "late") and (do != "error" or error)
        numbers = error if isinstance(error, (list, tuple)) else [error]
        rule = Rule(re.compile(match, re.I | re.S), list(numbers), do, kind, times, skip, chance, message, sqlstate, late_s)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self):
        with self._lock:
            self._rules.clear()

    def hang(self):
        """Nothing is forwarded any more, in either direction; connections are taken and stay silent."""
        self._go.clear()

    def resume(self):
        self._go.set()

    def cut(self):
        """Breaks every connection."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    @property
    def connections(self):
        with self._lock:
            return len(self._links)

    # --- connections --------------------------------------------------------------------------------------------

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            self._go.wait()
            server = socket.create_connection(self.target, timeout=10)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(self, client, server)
        with self._lock:
            self._links.add(link)
        link.run()
        with self._lock:
            self._links.discard(link)

    def _judge(self, kind, text):
        """The rule that this statement meets now, with its number; (None, None) = it passes."""
        with self._lock:
            if self.record:
                self.statements.append((kind, text))
            for rule in self._rules:
                if (rule.kind and rule.kind != kind) or not rule.match.search(text) or rule.times == 0:
                    continue
                if rule.chance < 1 and self._random.random() >= rule.chance:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                if rule.times:
                    rule.times -= 1
                rule.hits += 1
                rule.seen.append(text)
                return rule, self._random.choice(rule.numbers)
        return None, None


def error_packet(seq, number, sqlstate, message):
    body = b"\xff" + struct.pack("<H", number) + b"#" + sqlstate.encode() + message.encode()
    return struct.pack("<I", len(body))[:3] + bytes([seq]) + body


class Link:
    """One client's connection."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.texts = {}  # statement id -> text
        self.preparing = None
        self.lose_answer = self.is_hung = False

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def run(self):
        back = threading.Thread(target=self._from_server, daemon=True)
        back.start()
        try:
            while True:
                self._from_client(*self._packet(self.client))
        except (OSError, Closed):
            pass
        self.close()
        back.join()

    @staticmethod
    def _exactly(end, n):
        parts = []
        while n:
            part = end.recv(min(n, 1 << 20))
            if not part:
                raise Closed
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def _packet(self, end):
        head = self._exactly(end, 4)
        return head, self._exactly(end, int.from_bytes(head[:3], "little"))

    def _text(self, body):
        if body[0] in (QUERY, PREPARE):
            return body[1:].decode("utf-8", "replace")
        return self.texts.get(int.from_bytes(body[1:5], "little"), "")

    def _from_client(self, head, body):
        self.proxy._go.wait()
        while self.is_hung:
            time.sleep(0.05)
        kind = KINDS.get(body[0]) if head[3] == 0 and body else None  # a packet of number 0 begins a command
        rule, number = self.proxy._judge(kind, text := self._text(body)) if kind else (None, None)
        if rule and rule.do == "error":
            sqlstate, message = ERRORS.get(number, ("HY000", f"injected error {number}"))
            self.client.sendall(error_packet(1, number, rule.sqlstate or sqlstate, rule.message or message))
            return
        if rule and rule.do == "cut":
            raise Closed
        if rule and rule.do == "hang":
            self.is_hung = True
            return
        if rule and rule.do == "late":
            time.sleep(rule.late_s)
        elif rule:
            self.lose_answer = True
        if kind == "prepare":
            self.preparing = text
        self.server.sendall(head + body)

    def _from_server(self):
        try:
            while True:
                head, body = self._packet(self.server)
                self.proxy._go.wait()
                if self.lose_answer:
                    break
                if self.preparing is not None:
                    if body[0] == 0:
                        self.texts[int.from_bytes(body[1:5], "little")] = self.preparing
                    self.preparing = None
                self.client.sendall(head + body)
        except (OSError, Closed):
            pass
        self.close()
