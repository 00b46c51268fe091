# SPDX-License-Identifier: MIT
"""The samples of packaging/nginx and packaging/haproxy, with the real programs: which paths go where, streams both ways, and two brokers."""

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness.http import Api
from harness.ports import free_port
from harness.process import Process
from harness.system import ROOT
from harness.wait import wait_until

MAIN = """daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log info; worker_processes 1;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
include {dir}/chasqui.conf; }}
"""


class Laravel:
    """Whatever is not Chasqui's."""

    def __enter__(self):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                self.send_response(200)
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"laravel")

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def address(url):
    return url.partition("//")[2]


def nginx(system, laravel, port, directory):
    text = (ROOT / "packaging/nginx/chasqui.conf").read_text()
    for sample, real in (("10.0.0.11:8080", address(system.api_url(0))), ("10.0.0.12:8080", address(system.api_url(1))), ("127.0.0.1:8000", f"127.0.0.1:{laravel}"),
                         ("127.0.0.1:8443", f"127.0.0.1:{port}"), ("snippets/", f"{ROOT}/packaging/nginx/snippets/")):  # fmt: skip
        assert sample in text
        text = text.replace(sample, real)
    (directory / "chasqui.conf").write_text(text)
    (directory / "nginx.conf").write_text(MAIN.format(dir=directory))
    return Process("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-p", directory, "-e", directory / "first.log", "-c", directory / "nginx.conf"], directory / "nginx.log")


def haproxy(system, laravel, port, directory):
    text = (ROOT / "packaging/haproxy/haproxy.cfg").read_text()
    ops = [address(system.ops_url_of(n)).rpartition(":")[2] for n in (0, 1)]
    for n, sample in enumerate(("b1 10.0.0.11:8080", "b2 10.0.0.12:8080")):
        assert sample in text
        text = text.replace(sample, f"{sample[:2]} {address(system.api_url(n))} port {ops[n]}")
    text = text.replace("check port 8081 inter 1s", "check inter 200ms").replace("timeout connect 2s", "timeout connect 2s\n    timeout check 5s").replace("127.0.0.1:8000", f"127.0.0.1:{laravel}").replace("127.0.0.1:8443", f"127.0.0.1:{port}")
    (directory / "haproxy.cfg").write_text(text)
    return Process("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", directory / "haproxy.cfg"], directory / "haproxy.log")


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_a_sample_does_what_it_says(make_system, tmp_path, proxy):
    system = make_system(brokers=2, capacity=60)
    directory = tmp_path / proxy.__name__
    directory.mkdir()
    port = free_port()
    with Laravel() as laravel:
        process = proxy(system, laravel.server.server_port, port, directory).start()
        try:
            api = Api(f"http://127.0.0.1:{port}", system.token)
            wait_until(lambda: port_open(port) and api.active(1).status == 404, 15, "the proxy serves")
            # Which paths are whose.
            for path in ("/", "/api/v1/app/companies", "/api/v1/app/buzon/other", "/api/v1/app/jobsx", "/api/v1/app"):
                assert api.get(path).body == b"laravel", path
            session = api.login(1)
            api.list(session).expect(200)
            api.session(session).expect(200)
            assert api.get("/api/v1/app/jobs", headers={"X-Request-Id": "mine"}).expect(200).headers["X-Request-Id"] == "mine"
            assert api.get("/api/v1/app/jobs").headers["X-Request-Id"]
            api.put("/api/v1/app/credentials", {"company_id": 1, "portal": "sunat", "credentials": {"a": "b"}}).expect(200)
            # A file, as it comes.
            token = system.robot.add_file(1, "grande.bin", 20_000_000)
            answer = api.open_download(session, token)
            first = answer.read(1000)
            assert len(first) == 1000 and len(answer.read()) == 20_000_000 - 1000
            answer.connection.close()
            # An upload of more than any proxy's limit for bodies, streamed; its progress, live.
            lines = b"".join(json.dumps({"company_id": 100 + n % 40, "params": {"usuario": "u" * 400, "n": n}}).encode() + b"\n" for n in range(40))
            body = lines + b"\n" * 18_000_000
            sent = api.post("/api/v1/app/batches?portal=sunat&action=sunat.menu_sol_login", body=body, headers={"Content-Type": "application/x-ndjson"}).expect(202).json
            assert sent["accepted"] == 40
            events = api.open("GET", f"/api/v1/app/batches/{sent['batch_id']}/events", timeout=60)
            began, seen = time.monotonic(), []
            while line := events.readline():
                seen.append((line, time.monotonic() - began))
                if b'"status":"done"' in line:
                    break
            assert seen[0][1] < 5 and b'"status":"done"' in seen[-1][0], "it is not held back until the end"
            events.connection.close()
            # One broker goes: the other one serves.
            system.brokers[0].kill9()
            assert all(api.list(session).status == 200 for _ in range(20))
            system.brokers[0].start()
        finally:
            process.stop()


def port_open(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
