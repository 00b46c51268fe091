# SPDX-License-Identifier: MIT
"""The old flow in Node: nodeflow.js, undici and MariaDB's own client by npm, a cluster of two."""

import json
from pathlib import Path

from harness import Process, free_port, wait_until
from harness.http import Client
from npm import environment

HERE = Path(__file__).resolve().parent
PACKAGES = ("undici@6", "mariadb@3")
PROCESSES = 2
CONNECTIONS = 16  # to the database, of each process


class NodeFlow:
    def __init__(self, directory, database):
        directory.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        told = {
            "port": port, "processes": PROCESSES, "connections": CONNECTIONS,
            "database": {"socketPath": database.socket, "database": database.name, "user": database.user, "password": database.password},
        }  # fmt: skip
        self.process = Process("node", ["node", HERE / "nodeflow.js"], directory / "node.log",
                               env={**environment(), "FLOW": json.dumps(told)}).start()  # fmt: skip
        wait_until(lambda: Client(self.url).get("/healthz").status == 200, 20, f"Node answers\n{self.process.tail()}")

    def stop(self):
        self.process.stop()
