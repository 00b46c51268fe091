# SPDX-License-Identifier: MIT
"""Plain HTTP for tests: every status is an answer, nothing is followed or decoded, and bytes can be sent raw."""

import http.client
import json
import socket
from urllib.parse import urlencode, urlsplit

TIMEOUT_S = 40


class Answer:
    """A whole answer. headers is case-insensitive (http.client.HTTPMessage)."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The code of an error answer, or None."""
        try:
            return self.json.get("error")
        except (ValueError, AttributeError):
            return None

    def expect(self, status, error=None):
        """Itself, when it is that answer; else fails and shows what came."""
        assert self.status == status and (error is None or self.error == error), f"wanted {status} {error}: {self!r}"
        return self

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:600]!r}>"


class Client:
    """Requests to one server, a connection each."""

    def __init__(self, base_url, headers=None, timeout=TIMEOUT_S):
        self.base_url = base_url.rstrip("/")
        self.headers = headers or {}
        self.timeout = timeout

    def open(self, method, path, json_body=None, *, query=None, headers=None, body=None, timeout=None):
        """Sends and answers the http.client.HTTPResponse, its body not read yet; close() it."""
        url = urlsplit(self.base_url + path)
        sent = {**self.headers, **(headers or {})}
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent.setdefault("Content-Type", "application/json")
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = (url.path or "/") + ("?" + (urlencode(given) if given else url.query) if given or url.query else "")
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout or self.timeout)
        connection.request(method, target, body, {name: value for name, value in sent.items() if value is not None})
        answer = connection.getresponse()
        answer.connection = connection
        return answer

    def request(self, method, path, json_body=None, **more):
        answer = self.open(method, path, json_body, **more)
        try:
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            answer.connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, json_body=None, **more):
        return self.request("POST", path, json_body, **more)

    def put(self, path, json_body=None, **more):
        return self.request("PUT", path, json_body, **more)

    def delete(self, path, json_body=None, **more):
        return self.request("DELETE", path, json_body, **more)


class Api(Client):
    """The app API with a token."""

    def __init__(self, base_url, token, **more):
        super().__init__(base_url, {"Authorization": f"Bearer {token}"} if token else {}, **more)
        self.token = token

    def execute(self, company_id, portal="sunat", action=None, *, headers=None, timeout=150, **fields):
        body = {"company_id": company_id, "portal": portal, "action": action or f"{portal}.menu_sol_login", **fields}
        return self.post("/api/v1/app/jobs/execute", body, headers=headers, timeout=timeout)

    def login(self, company_id, **more):
        """A session id, from a log-in that must succeed."""
        more.setdefault("params", {"ruc": f"20{company_id:09}", "usuario": "DEMO", "clave": "demo"})
        return self.execute(company_id, **more).expect(200).json["session_id"]

    def queue(self, company_id, prefer="respond-async", *, headers=None, **more):
        """A log-in put into the queue; the answer, which is 202 unless there is an outcome already."""
        more.setdefault("params", {"ruc": f"20{company_id:09}", "usuario": "DEMO", "clave": "demo"})
        return self.execute(company_id, headers={"Prefer": prefer, **(headers or {})}, **more)

    def batch(self, items, *, headers=None, timeout=150, **fields):
        """A batch of log-ins, from a list of companies or items."""
        items = [item if isinstance(item, dict) else {"company_id": item} for item in items]
        body = {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items, **fields}
        return self.post("/api/v1/app/batches", body, headers=headers, timeout=timeout)

    def list(self, session_id, page=None, **more):
        return self.get("/api/v1/app/buzon/list", query={"session_id": session_id, "page": page}, **more)

    def download(self, session_id, file_token, **more):
        return self.get("/api/v1/app/buzon/download", query={"session_id": session_id, "file_token": file_token}, **more)

    def open_download(self, session_id, file_token, **more):
        """The answer before its body is read."""
        query = {"session_id": session_id, "file_token": file_token}
        return self.open("GET", "/api/v1/app/buzon/download", query=query, **more)

    def job(self, job_id, **more):
        return self.get(f"/api/v1/app/jobs/{job_id}", **more)

    def active(self, company_id, portal="sunat", **more):
        return self.get("/api/v1/app/sessions/active", query={"company_id": company_id, "portal": portal}, **more)

    def session(self, session_id, **more):
        return self.get(f"/api/v1/app/sessions/{session_id}", **more)

    def close(self, session_id, **more):
        return self.delete(f"/api/v1/app/sessions/{session_id}", **more)


def metrics(text):
    """{"name{labels}": value} of a Prometheus text."""
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def address(url):
    """("127.0.0.1", port) of "http://127.0.0.1:port", "tcp://…" or "127.0.0.1:port"."""
    host, _, port = url.rpartition("//")[2].rstrip("/").rpartition(":")
    return host, int(port)


def connect(url, timeout=10):
    """A TCP connection."""
    made = socket.create_connection(address(url), timeout=timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def raw(url, data, timeout=10, half_close=False):
    """Sends bytes and answers all bytes that come until the other side closes; a reset ends the bytes too."""
    got = b""
    with connect(url, timeout) as wire:
        try:
            wire.sendall(data)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
            while part := wire.recv(65536):
                got += part
        except ConnectionError:
            pass
    return got
