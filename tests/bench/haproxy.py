# SPDX-License-Identifier: MIT
"""HAProxy with a map from session to robot: the limit of what a sticky proxy can do. It checks no token, asks no database and
passes the request on as it came."""

from pathlib import Path

from harness import Process, free_port, wait_until
from harness.http import Client

CONF = """
global
    nbthread 2
    maxconn 8000
    stats socket {dir}/haproxy.sock
defaults
    mode http
    timeout connect 3s
    timeout client 600s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend app
    bind 127.0.0.1:{port} backlog 4096
    http-request return status 200 if {{ path /healthz }}
    use_backend %[url_param(session_id),map_str({map})]
{backends}
"""
BACKEND = """backend {name}
    server {name} {address}
"""


class HAProxy:
    def __init__(self, directory, robots, robot_of):
        """robot_of = {session id: robot's name}."""
        directory = Path(directory)
        directory.mkdir(parents=True)
        table = directory / "sessions.map"
        table.write_text("".join(f"{session} {name}\n" for session, name in robot_of.items()))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        backends = "".join(
            BACKEND.format(name=name, address=url.removeprefix("http://"))
            for one in robots
            for name, url in zip(one.names, one.urls, strict=True)
        )
        conf = directory / "haproxy.cfg"
        conf.write_text(CONF.format(dir=directory, port=port, map=table, backends=backends))
        self.process = Process("haproxy", ["/usr/sbin/haproxy", "-db", "-f", conf], directory / "haproxy.log").start()
        wait_until(lambda: Client(self.url).get("/healthz").status == 200, 10, "HAProxy answers")

    def stop(self):
        self.process.stop()
