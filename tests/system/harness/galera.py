# SPDX-License-Identifier: MIT
"""A real Galera cluster on loopback: nodes in directories and on ports of their own, small buffers, default time-outs.

The first node is installed, the others get its data by a state transfer (wsrep_sst_copy), as does one that was killed. A node is
cut off from the others by Galera's own gmcast.isolate: clients still reach it.
"""

import os
import secrets
from dataclasses import replace
from pathlib import Path

import pymysql

from .mariadb import MariaDB
from .ports import kept_port
from .wait import TimedOut, wait_until

PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/x86_64-linux-gnu/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
HERE = Path(__file__).resolve().parent  # of wsrep_sst_copy
JOIN_S = 60


def galera_missing():
    """Why no cluster can be started here; None = it can."""
    return None if provider() else "no libgalera_smm.so (package galera-4)"


def provider():
    return next((path for path in PROVIDERS if os.path.exists(path)), None)


class GaleraNode(MariaDB):
    """One node. `group` = host:port of all nodes, where they meet each other; `own` = its port there."""

    def install(self):
        if not self.datadir.exists():
            super().install()

    def __init__(self, directory, name, group, own, options=(), host="127.0.0.1"):
        ist = kept_port()
        super().__init__(
            directory,
            buffer_pool="32M",
            options=(
                "--wsrep-on=ON",
                f"--wsrep-provider={provider()}",
                "--wsrep-cluster-name=chasqui-tests",
                f"--wsrep-cluster-address=gcomm://{','.join(group)}",
                f"--wsrep-node-name={name}",
                f"--wsrep-node-address={host}:{own}",
                f"--wsrep-sst-receive-address={host}:{own}",
                "--wsrep-sst-method=copy",
                "--wsrep-provider-options=" + f"gmcast.listen_addr=tcp://{host}:{own};base_port={own};ist.recv_addr={host}:{ist};gcache.size=16M",
                "--binlog-format=ROW",
                "--default-storage-engine=InnoDB",
                "--innodb-autoinc-lock-mode=2",
                "--innodb-log-file-size=32M",
                *options,
            ),
        )
        self.process.env["PATH"] = f"{HERE}:{os.environ['PATH']}"
        self.name = name
        self.host = host
        self.address = f"{host}:{self.port}"

    def bootstrap(self):
        plain = self.process.argv
        self.process.argv = [*plain, "--wsrep-new-cluster"]
        self.start(timeout=JOIN_S)
        self.process.argv = plain

    def is_synced(self, size=None):
        return self.status("local_state_comment") == "Synced" and self.status("ready") == "ON" and (not size or self.status("cluster_size") == str(size))

    def wait_synced(self, size=None):
        wait_until(lambda: self.is_synced(size), JOIN_S, f"{self.name} is synced, of {size or 'any'} nodes")
        return self

    def status(self, name):
        """A wsrep_ status value; None while the node does not answer."""
        try:
            with self.root(connect_timeout=5, read_timeout=5) as connection, connection.cursor() as cursor:
                cursor.execute(f"SHOW GLOBAL STATUS LIKE 'wsrep_{name}'")
                row = cursor.fetchone()
                return row and row[1]
        except pymysql.MySQLError:
            return None

    def account(self):
        """What it says of itself, for a test that failed."""
        of = {name: self.status(name) for name in ("cluster_status", "cluster_size", "local_state_comment", "evs_state", "incoming_addresses")}
        return f"--- {self.name}: {'runs' if self.process.alive() else f'ended with {self.process.popen.returncode}'}, {of}\n{self.process.tail()}"

    def cut(self):
        """From the other nodes: after evs.suspect_timeout it is without quorum and answers 1047."""
        self.sql("SET GLOBAL wsrep_provider_options='gmcast.isolate=1'")

    def mend(self):
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL wsrep_provider_options='gmcast.isolate=0'")


class Galera:
    """Nodes of one cluster; `nodes[0]` is the one that the first test to come prefers."""

    def __init__(self, directory, size=3, make_node=None, hosts=None):
        """make_node(n, directory, group, port) makes one that is somewhere else, at hosts[n]."""
        self.directory = Path(directory)
        ports = [kept_port() for _ in range(size)]
        group = [f"{hosts[n] if hosts else '127.0.0.1'}:{port}" for n, port in enumerate(ports)]
        make_node = make_node or (lambda n, where, group, port: GaleraNode(where, f"node{n + 1}", group, port))
        self.nodes = [make_node(n, self.directory / f"node{n + 1}", group, port) for n, port in enumerate(ports)]
        self._password = secrets.token_hex(12)

    def start(self):
        first, *others = self.nodes
        first.bootstrap()
        for node in others:
            node.datadir.mkdir()
            node.process.start()
        for node in others:
            node.wait_ready(JOIN_S)
        return self.wait_whole()

    def wait_whole(self):
        try:
            for node in self.nodes:
                node.wait_synced(len(self.nodes))
        except TimedOut as why:
            raise TimedOut("\n".join([str(why), *(node.account() for node in self.nodes)])) from None
        return self

    def ensure_whole(self):
        """After a test that killed, paused or cut one."""
        for node in self.nodes:
            if node.process.alive():
                node.process.resume()
        alive = [node for node in self.nodes if node.process.alive()]
        assert alive, "every node is gone"
        for node in alive:
            node.mend()
        for node in self.nodes:
            if not node.process.alive():
                node.start(timeout=JOIN_S)
        return self.wait_whole()

    def create_database(self):
        """A fresh database; answers one Database for each node."""
        made = self.nodes[0].create_database(password=self._password)
        self.nodes[0].sql(f"CREATE OR REPLACE USER '{made.user}'@'%' IDENTIFIED BY '{made.password}'")
        self.nodes[0].sql(f"GRANT ALL ON `{made.name}`.* TO '{made.user}'@'%'")
        of_nodes = [replace(made, host=node.host, port=node.port, socket=node.socket) for node in self.nodes]
        for node, database in zip(self.nodes, of_nodes, strict=True):
            wait_until(lambda d=database: self.answers(d), 30, f"{node.name} has the database")
        return of_nodes

    @staticmethod
    def answers(database):
        try:
            return database.value("SELECT 1 AS one") == 1
        except pymysql.MySQLError:  # the node has not applied it yet
            return False

    def drop_database(self, database):
        self.nodes[0].drop_database(database)

    def hosts(self, first=0):
        """A db.host that begins at that node."""
        return ", ".join(node.address for node in (*self.nodes[first:], *self.nodes[:first]))

    def close(self):
        for node in self.nodes:
            node.close()
