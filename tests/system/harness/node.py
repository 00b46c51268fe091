# SPDX-License-Identifier: MIT
"""A program of examples/, ready when it has said where it listens."""

from pathlib import Path

from .http import Client
from .ports import free_port
from .process import Process

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
START_S = 60


class NodeService(Process):
    def __init__(self, directory, name, folder, script, arguments=(), *, listen=None):
        self.listen = listen or f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"
        self.http = Client(self.url)
        argv = ["node", script, "--listen", self.listen, *arguments]
        super().__init__(name, argv, Path(directory) / f"{name}.log", cwd=EXAMPLES / folder)

    def start(self):
        super().start()
        self.wait_log("^listening ", START_S)
        return self

    def ask(self, method, path, json_body=None, **more):
        return self.http.request(method, path, json_body, **more).expect(200).json


def web_portal(directory, *, listen=None):
    """The portal of examples/portal-demo."""
    return NodeService(directory, "portal-demo", "portal-demo", "server.js", listen=listen)


def chromium_robot(directory, name, portal_url, *arguments, listen=None):
    """The robot of examples/robot-chromium, for the portal sunat."""
    return NodeService(directory, name, "robot-chromium", "main.js", ["--portal", f"sunat={portal_url}", *arguments], listen=listen)
