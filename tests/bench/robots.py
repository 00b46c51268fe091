# SPDX-License-Identifier: MIT
"""nginx as robots: canned answers, so that the robot is never the limit.

One nginx process serves any number of robots, each an address of the loopback network of its own (127.1.0.1, 127.1.0.2, …)
on one port. It also answers the app API's own paths, so that a proxy that passes a request on unchanged gets the same bytes.
"""

import json
import shutil
from pathlib import Path

from harness import Process, free_port, wait_until
from harness.http import Client

ITEMS = 12
BIG_BYTES = 1 << 30
SMALL_BYTES = 1 << 20
CAPACITY = 100_000
HTTP = """access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 600;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;"""
CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; }}
http {{
    {http}
    log_format moments '$msec $http_x_request_id';
    default_type application/json;
    sendfile on;
    server {{
        {listen}
        location = /health {{ return 200 '{{"ok":true,"sessions":0,"capacity":{capacity},"boot_id":"bench"}}'; }}
        location = /sunat/login {{ {log} return 200 '{{"ok":true,"session_id":"$request_id","url":"https://x.example/","titulo":"x"}}'; }}
        location = /sunat/buzon/list {{ return 200 '{list}'; }}
        location = /api/v1/app/buzon/list {{ return 200 '{list}'; }}
        location /sessions/ {{ return 200 '{{"ok":true}}'; }}
        location /files/ {{ default_type application/pdf; alias {files}/; }}
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


def nginx(directory, name, conf, answers):
    """An nginx with that configuration, once it answers 200 at the URL."""
    path = directory / f"{name}.conf"
    path.write_text(conf)
    command = shutil.which("nginx") or "/usr/sbin/nginx"
    process = Process(name, [command, "-p", directory, "-c", path, "-e", directory / "nginx.error.log"],
                      directory / f"{name}.log").start()  # fmt: skip
    wait_until(lambda: Client(answers).get("").status == 200, 10, f"{name} answers")
    return process


class Robots:
    def __init__(self, directory, count, *, network=1, log_logins=False):
        """`count` robots in one nginx; networks keep several of these apart. `log_logins`: see moments()."""
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        files = self.directory / "files"
        files.mkdir()
        for name, size in (("big", BIG_BYTES), ("small", SMALL_BYTES)):
            with open(files / name, "wb") as file:
                file.truncate(size)
        port = free_port()
        hosts = [f"127.{network}.{n // 250}.{n % 250 + 1}" for n in range(count)]
        self.urls = [f"http://{host}:{port}" for host in hosts]
        self.names = [f"n{network}r{n + 1}" for n in range(count)]
        listen = "\n        ".join(f"listen {host}:{port} backlog=4096;" for host in hosts)
        conf = CONF.format(dir=self.directory, http=HTTP.format(dir=self.directory), files=files, listen=listen, list=mailbox(),
                           capacity=CAPACITY, log=f"access_log {self.directory}/logins.log moments;" if log_logins else "")  # fmt: skip
        self.process = nginx(self.directory, f"robots-{network}", conf, self.urls[0] + "/health")

    def moments(self):
        """{request id: Unix time in seconds} of the log-ins that came, to the millisecond."""
        lines = (self.directory / "logins.log").read_text().splitlines()
        return {request: float(moment) for moment, request in (line.split() for line in lines)}

    def stop(self):
        self.process.stop()
