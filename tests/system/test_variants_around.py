# SPDX-License-Identifier: MIT
"""Variants of what stands around a broker, made up from the contract and from public bug reports alone: load balancers that pool connections, doors
before the dashboard, receivers of callbacks that are away, dispatchers that are restarted in order. Each row names where it happened."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from harness.http import Client, connect, raw
from harness.listener import Listener
from harness.ports import free_port
from harness.process import Process
from harness.system import program
from harness.wait import wait_until
from test_stats import codes, stats
from test_variants import Results
from test_web_session import Person
from test_webhook import FAST, settled, submit

IDLE_S = 1
OPS = "/api/v1/ops"
NGINX = """daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log info; worker_processes 1; events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
server {{ listen 127.0.0.1:{port}; location /panel/ {{ proxy_pass {ops}/; }} }} }}
"""


class Wire:
    """A connection that a load balancer would keep."""

    def __init__(self, url, token=None):
        self.wire = connect(url, timeout=60)
        self.auth = f"Authorization: Bearer {token}\r\n" if token else ""

    def ask(self, method, target, body=b"", *lines):
        """(status, head), of an answer with a length."""
        self.at = time.monotonic()  # the server counts from later on
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{self.auth}" + "".join(f"{line}\r\n" for line in lines)
        self.wire.sendall(head.encode() + (b"Content-Length: %d\r\n" % len(body) if body else b"") + b"\r\n" + body)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.more()
        head, _, rest = got.partition(b"\r\n\r\n")
        head = head.decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0] or 0) if method != "HEAD" and " 304 " not in head[:16] else 0
        while len(rest) < length:
            rest += self.more()
        return int(head.split()[1]), head

    def more(self):
        part = self.wire.recv(65536)
        assert part, "the connection was closed"
        return part

    def closed(self):
        """Seconds from the last question until the other side closes."""
        assert self.wire.recv(1) == b""
        return time.monotonic() - self.at


def in_time(play):
    """What it answers; again while it took so long that a connection may have been idle meanwhile."""
    while True:
        began = time.monotonic()
        try:
            return play()
        except (AssertionError, OSError):
            if time.monotonic() - began < IDLE_S * 0.8:
                raise


def pooled(system, session):
    """name -> a function that leaves a connection as a balancer's pool would hold it."""
    list_of = f"/api/v1/app/buzon/list?session_id={session}"
    body = json.dumps({"company_id": 1, "portal": "sunat", "action": "sunat.menu_sol_login"}).encode()

    def told(*requests):
        def play():
            wire = Wire(system.api_url(), system.token)
            for request in requests:
                wire.ask(*request)
            return wire
        return play

    return {
        "after a list": told(("GET", list_of)),
        "after HEAD": told(("HEAD", list_of)),
        "after a log-in": told(("POST", "/api/v1/app/jobs/execute", body, "Content-Type: application/json")),
        "after 404": told(("GET", "/api/v1/app/sessions/none")),
        "after three": told(("GET", list_of), ("GET", "/api/v1/app/jobs"), ("GET", list_of)),
    }


def test_connections_that_a_balancer_pools_and_doors_before_the_dashboard(make_system):
    """Whoever pools connections closes them first: none is closed before broker.idle_timeout_s has passed since its last answer, none while it is used."""
    system, results = make_system(settings={"broker.idle_timeout_s": IDLE_S}), Results()
    api = system.api
    session = api.login(1)
    path = f"/api/v1/app/buzon/list?session_id={session}"

    def default():  # fleet, guardian/dotcom-rendering: 60 s here and there; superlog: 65 s were too near
        said = subprocess.run([program("chasqui-broker"), "--help"], capture_output=True, text=True, check=True).stdout
        line = next(line for line in said.splitlines() if "broker.idle_timeout_s" in line)
        assert int(line.split("=")[1].split()[0]) >= 75, line
        return line.strip()

    results.play("pooled", "the default is above 60 s", default)
    for name, play in pooled(system, session).items():  # growthbook-proxy, Node: counted from the last answer, whatever it was
        results.play("pooled", name, in_time, play)
    wires = [row[3] for row in results.rows if isinstance(row[3], Wire)]
    gaps = {}
    threads = [threading.Thread(target=lambda wire=wire, n=n: gaps.update({n: wire.closed()})) for n, wire in enumerate(wires)]
    [thread.start() for thread in threads]

    def used_for_long():  # boxel: a request that takes longer than the idle time
        system.robot.behave("list", "delay", ms=IDLE_S * 1500, times=1)
        return Wire(system.api_url(), system.token).ask("GET", path)[0]

    def a_quiet_stream():  # horizon: an event stream with nothing to say was cut after the balancer's minute
        system.ops.post(f"{OPS}/queue/pause", {"reason": "x"}).expect(200)
        batch = api.batch([7]).expect(202).json["batch_id"]
        events = api.open("GET", f"/api/v1/app/batches/{batch}/events", timeout=90)
        beside = Wire(system.api_url(), system.token)
        beside.ask("GET", path)
        beside.closed()  # as long as the idle time: the stream said nothing meanwhile, and is not idle
        system.ops.post(f"{OPS}/queue/resume", {}).expect(200)
        while line := events.readline():
            if b'"status":"done"' in line:
                return "told to the end"
        raise AssertionError("the stream was cut")

    def an_upload_in_drips():
        wire = connect(system.api_url(), timeout=60)
        lines = [json.dumps({"company_id": 30 + n}).encode() + b"\n" for n in range(3)]
        head = f"POST /api/v1/app/batches?portal=sunat&action=sunat.menu_sol_login HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {system.token}\r\n"
        wire.sendall(head.encode() + b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % sum(map(len, lines)))
        longest = 0
        for line in lines:  # a list of 0.4 s lies between two of them
            wire.sendall(line)
            began = time.monotonic()
            system.robot.behave("list", "delay", ms=IDLE_S * 400, times=1)
            api.list(session).expect(200)
            longest = max(longest, time.monotonic() - began)
        if longest > IDLE_S - 0.3:
            return "this machine is too slow to tell"
        assert wire.recv(65536).startswith(b"HTTP/1.1 202")
        return "taken"

    def errors_say_whether_it_goes_on():  # trafficserver, bun: an answer closed the connection and did not say so
        told = []
        asks = (("GET", "/api/v1/app/sessions/none"), ("GET", "/nowhere"), ("PATCH", "/api/v1/app/jobs"), ("GET", "/api/v1/app/buzon/list"),
                ("POST", "/api/v1/app/jobs/execute", b"{", "Content-Type: application/json"), ("POST", "/api/v1/app/jobs/execute", b"{}", "Content-Type: text/plain"),
                ("POST", "/api/v1/app/jobs/execute", b"x" * 1_100_000, "Content-Type: application/json"), ("DELETE", "/api/v1/app/sessions/none"))  # fmt: skip

        def asked(token, after, *ask):
            wire = Wire(system.api_url(), token)
            status, head = wire.ask(*ask)
            assert "connection: close" in head or wire.ask("GET", path)[0] == after, (ask[:2], status)
            return status, "connection: close" in head

        for ask in asks:
            told.append(in_time(lambda: asked(system.token, 200, *ask)))  # noqa: B023
        assert in_time(lambda: asked(None, 401, "GET", path))[0] == 401
        return told

    for row in (used_for_long, a_quiet_stream, an_upload_in_drips, errors_say_whether_it_goes_on):
        results.play("pooled", row.__name__, row)
    [thread.join(60) for thread in threads]
    results.play("pooled", "none is closed early", lambda: check_all(gaps, len(wires)))

    # --- doors before the dashboard

    for kind, row in doors(system, session).items():
        results.play("doors before the dashboard", kind, row)
    results.judge()


def check_all(gaps, n):
    assert len(gaps) == n and all(gap >= IDLE_S - 0.1 for gap in gaps.values()), gaps
    return gaps


def doors(system, session):
    """kind -> a row."""

    def nginx():
        directory, port = system.directory / "nginx", free_port()
        directory.mkdir()
        (directory / "nginx.conf").write_text(NGINX.format(dir=directory, port=port, ops=system.ops_url))
        process = Process("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-p", directory, "-e", directory / "first.log", "-c", directory / "nginx.conf"], directory / "nginx.log")
        process.start()
        door = Client(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {system.token}"})
        wait_until(lambda: door.get("/panel/").status == 200, 20, "nginx serves")
        return process, door

    def nginx_as_it_comes():
        """HTTP/1.0 to us, everything buffered, a Host of its own (atc, django-eventstream: no event came through)."""
        process, door = nginx()
        try:
            page = door.get("/panel/").body.decode()
            files = [part.partition('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
            assert len(files) > 10 and all(door.get(f"/panel/{name}").status == 200 for name in files if name.startswith("dashboard/"))
            events = door.open("GET", f"/panel{OPS}/events", timeout=60)
            assert events.status == 200
            got = 0
            while got < 2:
                line = events.readline()
                assert line, "the stream ended"
                got += line.startswith(b"data:")
            events.connection.close()
            answer = door.post("/panel/login", {"token": system.token}, headers={"Origin": "http://panel.example.com", "Authorization": None}).expect(403, "forbidden")
            assert "proxy_set_header Host" in answer.json["message"]
            return len(files)
        finally:
            process.stop()

    def behind_basic_auth():  # cloudcmd, cockpit, rook: the proxy's own credentials travel on, beside the cookie
        person = Person(system)
        person.headers["Authorization"] = "Basic b3BzOnNlY3JldA=="
        person.log_in(system.token).expect(200)
        person.get(f"{OPS}/me").expect(200)
        person.get(f"{OPS}/workers").expect(200)
        person.post("/logout").expect(200)
        return "in and out"

    def default_ports_and_capitals():  # Ktor, pi-web: Host with :443, Origin without
        told = []
        for host, origin, status in (
            ("panel.example.com:443", "https://panel.example.com", 200), ("panel.example.com:80", "http://panel.example.com", 200),
            ("PANEL.Example.com", "https://panel.example.com", 200), ("panel.example.com:8443", "https://panel.example.com:8443", 200),
            ("[::1]:8081", "http://[::1]:8081", 200), ("panel.example.com:8443", "https://panel.example.com", 403), ("panel.example.com", "https://panel.example.com:8443", 403),
            ("panel.example.com:80", "https://panel.example.com", 403), ("panel.example.com.evil.org", "https://panel.example.com", 403),
        ):  # fmt: skip
            answer = Client(system.ops_url).post("/login", {"token": system.token}, headers={"Host": host, "Origin": origin})
            told.append((host, origin, answer.status, status))
        assert all(got == wanted for _, _, got, wanted in told), [row for row in told if row[2] != row[3]]
        return len(told)

    def host_twice():  # PegaProx behind Nginx Proxy Manager
        body = json.dumps({"token": system.token})
        got = raw(system.ops_url, f"POST /login HTTP/1.1\r\nHost: panel.example.com\r\nHost: panel.example.com\r\nOrigin: https://panel.example.com\r\nConnection: close\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())  # fmt: skip
        status = int(got.split(b" ")[1])
        assert status in (200, 400, 403), got
        return status

    def eight_tabs():  # browsers keep six connections to a host over HTTP/1.1; proxies do not
        person = Person(system)
        person.log_in(system.token).expect(200)
        streams = [person.open("GET", f"{OPS}/events", headers={"Cookie": person.cookie}, timeout=60) for _ in range(8)]
        for stream in streams:
            while not stream.readline().startswith(b"data:"):
                pass
        person.get(f"{OPS}/workers").expect(200)
        for stream in streams:
            stream.connection.close()
        return len(streams)

    def other_cookies():  # zigbee2mqtt, hashi-ui: several programs below one host, whose cookies come along
        person = Person(system)
        person.log_in(system.token).expect(200)
        crowd = "; ".join(f"app{n}_session={'x' * 300}" for n in range(20))
        person.get(f"{OPS}/workers", headers={"Cookie": f"{crowd}; {person.cookie}; XSRF-TOKEN=eyJ%3D"}).expect(200)
        return "in"

    return {row.__name__: row for row in (nginx_as_it_comes, behind_basic_auth, default_ports_and_capitals, host_twice, eight_tabs, other_cookies)}


# --- receivers of callbacks, and dispatchers that come and go ---------------------------------------------------------


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receivers(Listener):
    """A path a receiver: `scripts` = {path: what it does with each call in turn, the last for all that follow}; bytes are an answer."""

    def __init__(self, scripts):
        self.scripts, self.deliveries = {path: list(script) for path, script in scripts.items()}, {path: [] for path in scripts}
        super().__init__()

    def serve(self, client):
        with client:
            client.settimeout(30)
            try:
                file = client.makefile("rb")
                path = file.readline().split()[1].decode()
                headers = {}
                while line := file.readline().strip():
                    name, _, value = line.partition(b":")
                    headers[name.lower()] = value.strip()
                file.read(int(headers.get(b"content-length", 0)))
                self.deliveries[path].append(headers[b"x-chasqui-delivery"])
                script = self.scripts[path]
                does = script.pop(0) if len(script) > 1 else script[0]
                if isinstance(does, bytes):
                    client.sendall(does)
                else:
                    does(client)
            except (OSError, IndexError):
                pass


def resets(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def says_nothing(client):
    client.recv(1)  # until the other side gives up


def half_a_head(client):
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-")
    client.recv(1)


def endless(client):
    client.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    while True:
        client.sendall(b"x" * 65536)


AWAY = {  # script -> tries until it is delivered
    "/resets": ([resets, resets, OK], 3),  # prisma1: a server that dies in the request
    "/closes": ([lambda client: None, OK], 2),
    "/silent": ([says_nothing, OK], 2),
    "/half": ([half_a_head, OK], 2),
    "/endless": ([endless, OK], 2),
    "/page": ([b"HTTP/1.1 503 Down\r\nRetry-After: 86400\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<h1>x", OK], 2),  # eventrelay: a maintenance page
    "/early": ([b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", OK], 3),
    "/elsewhere": ([b"HTTP/1.1 308 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", OK], 2),
    "/noise": ([b"\x15\x03\x01\x00\x02\x02\x28", b"SSH-2.0-OpenSSH_9.2\r\n", OK], 3),  # another program at its port
    "/204": ([b"HTTP/1.1 204 No Content\r\n\r\n"], 1),  # Tableau: 204 was a failure
    "/202": ([b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], 1),
    "/103": ([b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK], 1),
    "/1.0": ([b"HTTP/1.0 200 OK\r\n\r\nfine"], 1),
}


def test_receivers_that_are_away_and_dispatchers_in_turn(make_system):
    receivers, port = Receivers({path: script for path, (script, _) in AWAY.items()}), free_port()
    allow = f"{receivers.url},http://127.0.0.1:{port}"
    system, results = make_system(dispatchers=3, capacity=60, settings={**FAST, "webhook.timeout_ms": 1000, "webhook.allow": allow, "dispatcher.db_threads": 2}), Results()
    batches = {path: submit(system, (100 + n,), receivers.url + path)["batch_id"] for n, path in enumerate(AWAY)}
    refused = submit(system, (90,), f"http://127.0.0.1:{port}/later")["batch_id"]

    def delivered(path):
        row = settled(system, batches[path], "delivered", 60)
        calls = receivers.deliveries[path]
        assert row["attempts"] >= AWAY[path][1] and len(calls) >= AWAY[path][1] and len(set(calls)) == 1, (row, calls)
        return row["attempts"]

    def nobody_listened():  # Kubernetes: a Service without a pod while it is deployed
        tries = "SELECT attempts FROM chasqui_webhooks WHERE batch_id = %s"
        wait_until(lambda: (system.database.value(tries, refused) or 0) >= 2, 60, "it was tried")
        with socket.create_server(("127.0.0.1", port)) as listening:
            listening.settimeout(60)
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(OK)
        return settled(system, refused, "delivered", 60)["attempts"]

    for path in AWAY:
        results.play("receivers", path, delivered, path)
    results.play("receivers", "nobody listened", nobody_listened)
    receivers.listening.close()

    # --- dispatchers

    names = [process.name for process in system.dispatchers]
    seen, told = [], set()  # told: those that were told to end, the others may be starved of time

    def gone():
        """Dispatchers that are missed now; which of those that were told to end ever was is kept."""
        found = [key for key, value in system.metrics().items() if key.startswith("chasqui_dispatcher_connected{") and value == 0]
        words = [row["text"] for row in stats(system, history=0)["words"] if row["code"] == "dispatcher_gone"]
        seen.extend(text for text in found + words if any(name in text for name in told))
        return found

    def connected():
        gone()
        return sorted(row["name"] for row in system.ops.get(f"{OPS}/dispatchers").expect(200).json["dispatchers"] if row["connected"])

    def quietly(what):
        def row(*args):
            seen.clear()
            told.clear()
            what(*args)
            assert not seen, seen
            return "nobody was missed"
        return row

    def rolling():  # karpenter, kubernetes-mixin: an alert at every roll-out
        for process in system.dispatchers:
            told.add(process.name)
            process.stop()
            wait_until(lambda: process.name not in connected(), 20, "it left")  # noqa: B023
            process.start()
            wait_until(lambda: connected() == names, 30, "it is back")

    def by_sigint():  # Docker's STOPSIGNAL, Ctrl-C
        process = system.dispatchers[1]
        told.add(process.name)
        process.told_to_end = True
        process.signal(signal.SIGINT)
        process.popen.wait(40)
        wait_until(lambda: process.name not in connected(), 20, "it left")
        process.start()
        wait_until(lambda: connected() == names, 30, "it is back")

    def with_work_under_way():  # concourse, Sidekiq: stopped while it works
        system.robot.behave("login", "delay", ms=1500, times=1)
        answers = []
        working = threading.Thread(target=lambda: answers.append(system.api.execute(300).status))
        working.start()
        job = wait_until(lambda: system.database.value("SELECT MAX(id) FROM portal_jobs WHERE company_id = 300"), 20, "it is under way")
        for process in system.dispatchers[:2]:
            told.add(process.name)
            process.stop(timeout=60)
            gone()
        working.join()
        wait_until(lambda: system.api.job(job).json["job"]["status"] == "done", 30, "it is done")
        for process in system.dispatchers[:2]:
            process.start()
        wait_until(lambda: connected() == names, 30, "they are back")

    def fewer_for_good():  # StatefulSets scaled down
        told.add(names[2])
        system.dispatchers[2].stop()
        wait_until(lambda: connected() == names[:2], 20, "it left")
        system.broker.stop()
        system.broker.start()
        wait_until(lambda: system.broker.alive() and connected_or_none() == names[:2], 30, "the broker knows the others")

    def connected_or_none():
        try:
            return connected()
        except (OSError, AssertionError):
            return None

    def killed_is_missed():  # CashPilot: nobody was told for 42 hours
        system.dispatchers[1].kill9()
        wait_until(gone, 20, "it is missed")
        wait_until(lambda: "dispatcher_gone" in codes(stats(system, history=0)), 30, "it is said")
        system.dispatchers[1].start()
        wait_until(lambda: connected() == names[:2] and not gone(), 30, "it is not missed any more")
        return "missed while it was away"

    for row in (rolling, by_sigint, with_work_under_way, fewer_for_good):
        results.play("dispatchers", row.__name__, quietly(row))
    results.play("dispatchers", "killed_is_missed", killed_is_missed)
    results.judge()
