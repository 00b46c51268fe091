# SPDX-License-Identifier: MIT
"""What system tests are made of: processes that are really started, and conditions that are really waited for.

Knows nothing of pytest (conftest.py does), so that `make run` and the benchmark can use it too.
"""

from .database_proxy import DatabaseProxy
from .galera import Galera, galera_missing
from .http import Answer, Api, Client, address, connect, metrics, raw
from .mariadb import Database, MariaDB
from .ports import free_port
from .process import Process
from .proxy import Proxy
from .robots import Portal, Robot, content
from .system import System, is_sanitized, program
from .wait import TimedOut, stays, wait_until

__all__ = [
    "Answer", "Api", "Client", "Database", "DatabaseProxy", "Galera", "MariaDB", "Portal", "Process", "Proxy", "Robot", "System", "TimedOut", "address",
    "connect", "content", "free_port", "galera_missing", "is_sanitized", "metrics", "program", "raw", "stays", "wait_until",
]  # fmt: skip
