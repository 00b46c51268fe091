# SPDX-License-Identifier: MIT
"""The old flow: oldflow.php under PHP-FPM behind nginx."""

import os
import shutil
from pathlib import Path

from harness import Process, free_port, wait_until
from robots import HTTP, nginx

HERE = Path(__file__).resolve().parent
WORKERS = 24
POOL = """
[global]
error_log = {dir}/fpm.error.log
daemonize = no
[bench]
{user}
listen = {dir}/fpm.sock
listen.mode = 0666
listen.backlog = 4096
pm = static
pm.max_children = {workers}
php_admin_value[opcache.enable] = 1
php_admin_value[opcache.validate_timestamps] = 0
"""
CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.error.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /healthz {{ return 200; }}
        location / {{
            fastcgi_pass unix:{dir}/fpm.sock;
            fastcgi_param SCRIPT_FILENAME {script};
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param DB_SOCKET {database.socket};
            fastcgi_param DB_NAME {database.name};
            fastcgi_param DB_USER {database.user};
            fastcgi_param DB_PASSWORD {database.password};
        }}
    }}
}}
"""


def fpm_command():
    found = next(iter(sorted(Path("/usr/sbin").glob("php-fpm*"))), None) or shutil.which("php-fpm")
    assert found, "no php-fpm"
    return str(found)


class OldFlow:
    def __init__(self, directory, database):
        directory = Path(directory)
        directory.mkdir(parents=True)
        pool = directory / "fpm.conf"
        pool.touch(mode=0o600)
        as_root = os.getuid() == 0
        pool.write_text(POOL.format(dir=directory, workers=WORKERS, user="user = root\ngroup = root" if as_root else ""))
        command = [fpm_command(), "--nodaemonize", "--fpm-config", pool, *(["--allow-to-run-as-root"] if as_root else [])]
        self.fpm = Process("php-fpm", command, directory / "fpm.log").start()
        wait_until(lambda: (directory / "fpm.sock").exists(), 10, f"PHP-FPM listens\n{self.fpm.tail()}")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        conf = CONF.format(dir=directory, http=HTTP.format(dir=directory), port=port, script=HERE / "oldflow.php", database=database)
        self.nginx = nginx(directory, "nginx-php", conf, self.url + "/healthz")

    def stop(self):
        self.nginx.stop()
        self.fpm.stop()
