# SPDX-License-Identifier: MIT
"""A server of a test's own, in a thread from `with` to its end."""

import threading


class Served:
    """Its __init__ makes `server`, one of socketserver's."""

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
