# SPDX-License-Identifier: MIT
"""A TCP proxy in front of robots: it can be cut off, and it can choose another target for each connection, like a load balancer."""

import selectors
import socket
import threading

from .ports import free_port


class Proxy:
    """Listens on a port of its own. `targets` are ports of 127.0.0.1, taken in turn. cut(): nothing passes, as if the network were cut, until
    mend(); connections that are open stay open and silent, new ones are not answered."""

    def __init__(self, *targets, port=None):
        self.targets = list(targets)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.is_cut = False
        self.turn = 0
        self.selector = selectors.DefaultSelector()
        self.pairs = {}  # socket -> the other one
        self.held = []  # connections that came while it was cut
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def cut(self):
        self.is_cut = True

    def mend(self):
        self.is_cut = False

    def stop(self):
        self.over = True
        self.thread.join()
        for one in (self.listener, *self.held, *self.pairs):
            one.close()
        self.selector.close()

    def run(self):
        while not self.over:
            if self.is_cut:
                threading.Event().wait(0.02)
                continue
            for one in self.held:
                self.connect(one)
            self.held = []
            for key, _ in self.selector.select(0.02):
                if self.is_cut:
                    break
                if key.fileobj is self.listener:
                    self.accept()
                elif key.fileobj in self.pairs:
                    self.move(key.fileobj)

    def accept(self):
        try:
            one, _ = self.listener.accept()
        except OSError:
            return
        self.connect(one)

    def connect(self, one):
        target = self.targets[self.turn % len(self.targets)]
        self.turn += 1
        try:
            other = socket.create_connection(("127.0.0.1", target), timeout=5)
        except OSError:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # refused there is reset here
            one.close()
            return
        for this, that in ((one, other), (other, one)):
            this.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            this.settimeout(5)
            self.pairs[this] = that
            self.selector.register(this, selectors.EVENT_READ)

    def move(self, one):
        other = self.pairs[one]
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        for this in (one, other):
            self.pairs.pop(this, None)
            self.selector.unregister(this)
            this.close()
