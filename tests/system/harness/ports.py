"""Free TCP ports below the range from which the kernel takes the local ends of connections.

A port is handed out once a run, so that a process that was restarted on its old port cannot meet a newcomer there.
"""

import os
import socket

FIRST, LAST = 15000, 30000
_next = FIRST + os.getpid() * 37 % (LAST - FIRST)


def free_port(host="127.0.0.1"):
    global _next
    for _ in range(LAST - FIRST):
        port = _next
        _next = port + 1 if port + 1 < LAST else FIRST
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")
