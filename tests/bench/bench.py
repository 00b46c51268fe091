#!/usr/bin/python3
"""The list path under load: how many lists a second, and how long they take.

Owns a temporary directory with everything in it: nginx as a robot with a canned mailbox, a private MariaDB that flushes at
each commit, healthd, one broker, one or more dispatchers, CURVE on, and wrk. Sessions are made by real log-ins. wrk straight to
nginx in the same run is the reference: what this machine gives at all at that moment.

    bench.py [--seconds 10] [--connections 64] [--sessions 1000] [--dispatchers 1] [--no-curve] [--keep]

Ends with 1 when an answer was not 200. Loads only the loopback.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
os.environ.setdefault("CHASQUI_BUILD", "build")

from harness import MariaDB, Process, System, free_port, wait_until  # noqa: E402
from harness.http import Client  # noqa: E402

ITEMS = 12
SETTINGS = {
    "log.level": "warn",
    "healthd.interval_ms": 1000,
    "healthd.timeout_ms": 1000,
    "session.sweep_ms": 1000,
    "queue.lease_ms": 15000,
}
NGINX = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_requests 100000000;
    keepalive_timeout 600;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /health {{ return 200 '{{"ok":true,"sessions":0,"capacity":{capacity},"boot_id":"bench"}}'; }}
        location = /sunat/login {{ return 200 '{{"ok":true,"session_id":"$request_id","url":"https://x.example/","titulo":"x"}}'; }}
        location = /sunat/buzon/list {{ return 200 '{list}'; }}
        location / {{ return 404; }}
    }}
}}
"""


def mailbox():
    items = [
        {"id": 1000 + n, "subject": f"Notificación de orden de pago {n:03}", "date": f"2026-11-{n + 1:02}",
         "file_token": f"{n:048x}", "size": 123456 + n, "name": f"notificación-{n:03}.pdf"}
        for n in range(ITEMS)
    ]  # fmt: skip
    return json.dumps({"ok": True, "company_id": 1, "page": 1, "pages": 3, "items": items}, ensure_ascii=False)


def nginx_start(directory, capacity):
    port = free_port()
    directory.mkdir()
    conf = directory / "nginx.conf"
    conf.write_text(NGINX.format(dir=directory, port=port, capacity=capacity, list=mailbox()))
    command = shutil.which("nginx") or "/usr/sbin/nginx"
    process = Process("nginx", [command, "-p", directory, "-c", conf, "-e", directory / "nginx.error.log"],
                      directory / "nginx.log").start()  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: Client(url).get("/health").status == 200, 10, "nginx answers")
    return process, url


def sessions_make(system, n):
    """Real log-ins, eight at a time."""
    ids, wrong, left = [], [], list(range(1, n + 1))

    def work():
        while left:
            answer = system.api.execute(left.pop(), params={"clave": "bench"})
            if answer.status == 200:
                ids.append(answer.json["session_id"])
            else:
                wrong.append(answer)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    return ids


def wrk(url, ids, options, seconds, token=None):
    command = ["wrk", "-t2", f"-c{options.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "list.lua", url, "--", ids]
    done = subprocess.run([*map(str, command), *([token] if token else [])], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    assert line, f"wrk: {done.stdout}{done.stderr}"
    told = json.loads(line.removeprefix("RESULT "))
    told["rate"] = told["requests"] / (told["duration_us"] / 1e6)
    return told


def line_of(name, told):
    return (f"{name:<22}{told['rate']:>9,.0f} requests/s   p50 {told['p50_us'] / 1000:6.2f} ms   p99 {told['p99_us'] / 1000:6.2f} ms"
            f"   max {told['max_us'] / 1000:6.1f} ms   errors {told['bad_status'] + told['socket_errors']}")  # fmt: skip


def measure(system, nginx, url, ids, options):
    print(f"{options.connections} connections, {options.seconds} s, {options.sessions} sessions, "
          f"{options.dispatchers} dispatcher(s), CURVE {'on' if options.curve else 'off'}, {os.cpu_count()} cores for all")  # fmt: skip
    wrk(system.api_url(), ids, options, 1, system.token)  # connections, statements and caches are there
    processes = [system.broker, *system.dispatchers, nginx, system.mariadb.process]
    counters = ("chasqui_lookups_total", "chasqui_lookup_queries_total")
    beat = 1.2  # counters travel every half second
    quiet(system, beat)
    before = {name: system.metric(name) for name in counters}
    cpu = {process.name: process.cpu_s() for process in processes}
    told = wrk(system.api_url(), ids, options, options.seconds, system.token)
    cpu = {process.name: process.cpu_s() - cpu[process.name] for process in processes}
    quiet(system, beat)
    lookups, queries = (system.metric(name) - before[name] for name in counters)
    direct = wrk(url, ids, options, max(2, options.seconds // 2))
    print(line_of("chasqui list", told))
    print(line_of("nginx alone", direct))
    print(f"look-up queries per request: {queries / max(1, told['requests']):.3f} ({lookups / max(1, queries):.1f} look-ups a query)")
    for name, used in cpu.items():
        print(f"  {name:<14} {used:6.2f} CPU-s   {told['requests'] / used if used else 0:>9,.0f} requests per CPU-s")
    return 0 if told["bad_status"] + told["socket_errors"] == 0 else 1


def quiet(system, seconds):
    """Waits until the counters stand still."""
    last = [None]

    def still():
        now = system.metric("chasqui_requests_total")
        same, last[0] = now == last[0], now
        return same

    wait_until(still, 20, "the counters stand still", every=seconds)


def main():
    parser = argparse.ArgumentParser(description="The list path under load.")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--dispatchers", type=int, default=1)
    parser.add_argument("--no-curve", dest="curve", action="store_false")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chasqui-bench-"))
    mariadb = nginx = system = None
    try:
        mariadb = MariaDB(directory / "mariadb", durable=True, buffer_pool="128M").start()
        nginx, url = nginx_start(directory / "robot", options.sessions + 10)
        system = System(directory / "chasqui", mariadb.create_database(), dispatchers=options.dispatchers,
                        curve=options.curve, settings=SETTINGS)  # fmt: skip
        system.mariadb = mariadb
        system.check_doctor = False  # nginx is no whole robot: it cannot be asked for its sessions
        system.setup()
        system.ctl("worker", "add", "nginx", "--base-url", url, "--capacity", options.sessions + 10)
        system.start().wait_ready()
        ids = directory / "sessions"
        ids.write_text("\n".join(sessions_make(system, options.sessions)) + "\n")
        return measure(system, nginx, url, ids, options)
    finally:
        wrong = system.close() if system else []
        for one in (nginx, mariadb):
            if one:
                one.stop()
        print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
        if options.keep:
            print(f"kept: {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
            if mariadb:
                shutil.rmtree(mariadb.short, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
