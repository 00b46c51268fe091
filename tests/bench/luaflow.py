# SPDX-License-Identifier: MIT
"""The old flow in nginx with Lua: one look-up in MariaDB on a connection that each worker keeps, then nginx's own proxy on kept
connections to the robot. No token, no limit.

The look-up is by luasql, Debian's binding of MariaDB's C client. It blocks its worker while the database works, so there are more
workers than cores, as with PHP-FPM.
"""

import glob
import os

from harness import free_port
from robots import HTTP, nginx

WORKERS = 16
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
MODULE_PATH = "/usr/lib/nginx/modules"
CONF = """
daemon off;
{user}
pid {dir}/nginx.pid;
error_log {dir}/nginx.error.log crit;
worker_processes {workers};
worker_rlimit_nofile 20000;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 8192; }}
http {{
    {http}
    {upstreams}
    init_worker_by_lua_block {{
        database = assert(require("luasql.mysql").mysql():connect({connect}))
        text = "SELECT worker, portal FROM portal_jobs WHERE robot_session_id = '%s' ORDER BY id DESC LIMIT 1"
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        location = /healthz {{ return 200; }}
        location / {{
            set $robot "";
            set $portal "";
            access_by_lua_block {{
                local found = assert(database:execute(text:format(database:escape(ngx.var.arg_session_id or ""))))
                local robot, portal = found:fetch()
                found:close()
                if not robot then
                    return ngx.exit(404)
                end
                ngx.var.robot, ngx.var.portal = robot, portal
            }}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://$robot/$portal/buzon/list?session_id=$arg_session_id&page=$arg_page;
        }}
    }}
}}
"""
UPSTREAM = """upstream {name} {{ server {address}; keepalive 64; keepalive_requests 100000000; }}
"""


def lua_missing():
    """None, or what this machine lacks for it."""
    missing = [one for one in MODULES if not os.path.exists(f"{MODULE_PATH}/{one}")]
    if not glob.glob("/usr/lib/*/lua/5.1/luasql/mysql.so"):
        missing.append("luasql")
    return ", ".join(missing) or None


class LuaFlow:
    def __init__(self, directory, database, robots):
        directory.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        upstreams = "".join(
            UPSTREAM.format(name=name, address=url.removeprefix("http://")) for one in robots for name, url in zip(one.names, one.urls, strict=True)
        )
        words = ", ".join(f'"{one}"' for one in (database.name, database.user, database.password, "localhost"))
        conf = CONF.format(dir=directory, http=HTTP.format(dir=directory), user="user root;" if os.getuid() == 0 else "", workers=WORKERS,
                           modules=MODULE_PATH, upstreams=upstreams, connect=f'{words}, 3306, "{database.socket}"', port=port)  # fmt: skip
        (directory / "nginx-lua.conf").touch(mode=0o600)
        self.process = nginx(directory, "nginx-lua", conf, self.url + "/healthz")

    def stop(self):
        self.process.stop()
