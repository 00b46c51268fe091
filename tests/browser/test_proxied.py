# SPDX-License-Identifier: MIT
"""The page behind a front door that gives it a path prefix and passes on its own Host."""

import re
import socket
import threading

from dashboard import Dashboard
from harness.listener import Listener


class PrefixDoor(Listener):
    """Passes what begins with the prefix on, without it, as nginx's `proxy_pass` with a path does; one request a connection."""

    def __init__(self, prefix, target, host=None):
        self.prefix, self.target, self.host = prefix.encode(), target, host
        super().__init__()
        self.url += prefix

    def serve(self, client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := client.recv(65536)):
                    return
                head += part
            top, _, body = head.partition(b"\r\n\r\n")
            method, path, rest = top.split(b" ", 2)
            if not path.startswith(self.prefix + b"/"):
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            rest = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", rest)
            if self.host:
                rest = re.sub(rb"(?i)\r\nhost: [^\r]*", b"\r\nHost: " + self.host.encode(), rest)
            with socket.create_connection(self.target) as there:
                there.sendall(method + b" " + path[len(self.prefix):] + b" " + rest + b"\r\nConnection: close\r\n\r\n" + body)
                threading.Thread(target=self.pump, args=(client, there), daemon=True).start()
                self.pump(there, client)

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass


def test_behind_a_path_prefix(driver, house):
    host, port = house.system.ops_url.removeprefix("http://").split(":")
    doors = [PrefixDoor("/ops/a-b.c/~x", (host, int(port)), host=given) for given in (None, "upstream")]
    try:
        page = Dashboard(driver, doors[0].url).size("wide").forget().open().log_in(house.system.token)
        page.see("live", within=".state")
        page.open("jobs").see_no("Show an operator")  # loaded anew, it is still logged in
        page = Dashboard(driver, doors[1].url).size("wide").forget().open()  # nginx's own Host: what to do is said
        page.see("Show an operator").field("Token").send_keys(house.system.token)
        page.press("Log in")
        page.see("proxy_set_header Host $http_host")
    finally:
        for door in doors:
            door.listening.close()
