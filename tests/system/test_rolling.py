# SPDX-License-Identifier: MIT
"""Two brokers behind a real nginx and a real HAProxy: restarted one after the other under 200 lists a second, no request is lost."""

import shutil
import signal
import threading
import time
from http.client import HTTPConnection, HTTPException

import pytest
from harness import Process, free_port, wait_until

NGINX, HAPROXY = shutil.which("nginx") or "/usr/sbin/nginx", shutil.which("haproxy") or "/usr/sbin/haproxy"
PER_SECOND, ASKERS = 200, 10


def nginx(directory, port, app_ports, ops_ports):
    """As its documentation shows it: kept connections, the next server when one does not answer."""
    servers = "".join(f"server 127.0.0.1:{one} max_fails=0; " for one in app_ports)
    temp = "".join(f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = directory / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.error warn; worker_processes 1; events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temp} upstream brokers {{ {servers} keepalive 16; }}\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://brokers; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}\n"
    )
    return [NGINX, "-p", directory, "-e", directory / "nginx.error", "-c", conf]


def haproxy(directory, port, app_ports, ops_ports):
    """Readiness is asked at the operators' listener; what was sent to nobody is sent again."""
    servers = "\n".join(
        f"  server b{n} 127.0.0.1:{app} check port {ops} inter 200 fall 1 rise 1" for n, (app, ops) in enumerate(zip(app_ports, ops_ports))
    )
    conf = directory / "haproxy.cfg"
    conf.write_text(
        f"global\n  maxconn 200\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n  timeout check 5s\n  retries 3\n"
        f"  option redispatch 1\n  option httpchk HEAD /readyz\n  retry-on conn-failure empty-response\n"
        f"frontend in\n  bind 127.0.0.1:{port}\n  default_backend brokers\nbackend brokers\n  balance roundrobin\n{servers}\n"
    )
    return [HAPROXY, "-db", "-f", conf]


class Asker(threading.Thread):
    """Lists at a pace on a kept connection to the load balancer."""

    def __init__(self, port, token, session_id):
        super().__init__(daemon=True)
        self.port, self.token, self.session_id = port, token, session_id
        self.answered, self.lost, self.ended = 0, [], False
        self.start()

    def run(self):
        wire, due = None, time.monotonic()
        while not self.ended:
            due += ASKERS / PER_SECOND
            time.sleep(max(0, due - time.monotonic()))
            if wire is None:
                wire = HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                wire.request("GET", f"/api/v1/app/buzon/list?session_id={self.session_id}", headers={"Authorization": f"Bearer {self.token}"})
                answer = wire.getresponse()
                body = answer.read()
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.lost.append((answer.status, body[:200]))
                if answer.will_close:
                    wire.close()
                    wire = None
            except (OSError, HTTPException) as why:
                self.lost.append(repr(why))
                wire.close()
                wire = None


@pytest.mark.parametrize("balancer", [nginx, haproxy])
def test_a_rolling_restart_loses_no_request(make_system, tmp_path, balancer):
    system = make_system(robots=1, brokers=2, settings={"broker.stop_delay_ms": 1200, "broker.start_delay_ms": 20000})
    session = system.api.execute(7).expect(200).json["session_id"]
    apps, opses = ([int(system.endpoints["broker", n][key].rsplit(":")[-1]) for n in range(2)] for key in ("broker.http", "broker.ops"))
    directory = tmp_path / "balancer"
    directory.mkdir()
    port = free_port()
    proxy = Process(balancer.__name__, balancer(directory, port, apps, opses), directory / "log").start()
    askers = []
    try:
        wait_until(lambda: answers(port), 10, f"{balancer.__name__} answers")
        askers = [Asker(port, system.token, session) for _ in range(ASKERS)]
        wait_until(lambda: all(one.answered > 5 for one in askers), 20)
        for number, broker in enumerate(system.brokers):
            broker.restart()
            wait_until(lambda number=number: system.ready(number), 30, f"broker {number} is ready again")
            before = sum(one.answered for one in askers)
            wait_until(lambda before=before: sum(one.answered for one in askers) > before + 100, 20)
    finally:
        for one in askers:
            one.ended = True
        for one in askers:
            one.join(40)
        proxy.signal(signal.SIGTERM)
        proxy.stop()
    assert not [lost for one in askers for lost in one.lost]
    assert sum(one.answered for one in askers) > 300


def answers(port):
    wire = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        wire.request("GET", "/nothing")
        return wire.getresponse().status == 404
    except OSError:
        return False
    finally:
        wire.close()
