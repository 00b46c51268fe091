# SPDX-License-Identifier: MIT
"""A server of a test's own, by bytes: each connection is served in a thread."""

import socket
import threading


class Listener:
    """serve(client) is the subclass's."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                threading.Thread(target=self.serve, args=(self.listening.accept()[0],), daemon=True).start()
            except OSError:
                return
