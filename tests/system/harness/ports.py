# SPDX-License-Identifier: MIT
"""Free TCP ports below the range from which the kernel takes the local ends of connections.

Runs beside each other take theirs from different slices: a run holds the first port of its own open. Within the slice they
are handed out in turn, so that a process that was restarted on its old port does not meet a newcomer there. What lives for the whole run, and does
not listen all the time, takes a kept_port(), which nobody else gets.
"""

import itertools
import socket

FIRST, LAST, SLICE = 15000, 30000, 500


def take_slice():
    for first in range(FIRST, LAST, SLICE):
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", first))
            holder.listen()
            return holder, itertools.cycle(range(first + 1, first + SLICE))
        except OSError:
            holder.close()
    raise RuntimeError("no free slice of ports")


_holder, _ports = take_slice()
_kept = set()


def free_port(host="127.0.0.1"):
    for port in itertools.islice(_ports, SLICE - 1):
        if port in _kept:
            continue
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def kept_port():
    port = free_port()
    _kept.add(port)
    return port
