# SPDX-License-Identifier: MIT
"""Three hosts of their own network on one machine: a namespace each, joined by a bridge whose address is the outside (clients, robots).

What a host sends to another one is lost from drop() on: its packets leave with a hardware address that nobody has. One call makes a half-open
link, two a cut. Needs root and ip(8); hosts_missing() says what is not there. Names carry our pid: what a killed run left is removed by the next.
"""

import os
import re
import shutil
import subprocess

from .galera import Galera, GaleraNode, galera_missing
from .system import System
from .wait import TimedOut, wait_until

NOBODY = "02:00:00:00:00:01"


def ip(*words, check=True):
    return subprocess.run(["ip", *map(str, words)], check=check, capture_output=True, text=True)


def hosts_missing():
    """Why no hosts can be made here; None = they can."""
    if galera_missing():
        return galera_missing()
    if os.getuid() != 0 or not shutil.which("ip"):
        return "it takes root and ip (package iproute2)"
    name = f"chq{os.getpid()}x"
    made = ip("netns", "add", name, check=False)
    linked = ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p", check=False) if made.returncode == 0 else made
    ip("link", "del", name, check=False)
    ip("netns", "del", name, check=False)
    return linked.stderr.strip() or "no network namespaces" if linked.returncode else None


def remove_leftovers():
    for pid, name in re.findall(r"\b(?=chq)chq(\d+)(\w*)", ip("netns", "list").stdout + ip("-o", "link", "show", "type", "bridge").stdout):
        if not os.path.exists(f"/proc/{pid}"):
            ip("netns", "del", f"chq{pid}{name}", check=False)
            ip("link", "del", f"chq{pid}{name}", check=False)


class Network:
    made = 0  # the kernel takes a moment to forget a name

    def __init__(self, size=3):
        remove_leftovers()
        Network.made += 1
        own = f"chq{os.getpid()}{chr(ord('a') + Network.made % 26)}"
        self.bridge = f"{own}b"
        self.names = [f"{own}h{n + 1}" for n in range(size)]
        self.net = f"10.77.{(os.getpid() + Network.made) % 250}"
        self.outside = f"{self.net}.254"
        self.addresses = [f"{self.net}.{n + 1}" for n in range(size)]

    def start(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.outside}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        for name, address in zip(self.names, self.addresses, strict=True):
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", self.bridge, "up")
            self.inside(name, "addr", "add", f"{address}/24", "dev", "eth0")
            self.inside(name, "link", "set", "eth0", "up")
            self.inside(name, "link", "set", "lo", "up")
        return self

    @staticmethod
    def inside(name, *words, check=True):
        return ip("-n", name, *words, check=check)

    def prefix(self, n):
        """What a program's argv begins with to run on that host."""
        return ["nsenter", f"--net=/run/netns/{self.names[n]}"]

    def drop(self, one, other):
        """What host `one` sends to `other` is lost."""
        self.inside(self.names[one], "neigh", "replace", self.addresses[other], "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def heal(self):
        for name in self.names:
            wait_until(lambda name=name: self.has_no_cut(name), 10, f"host {name} reaches the others")

    def has_no_cut(self, name):
        cut = [word.split()[0] for word in self.inside(name, "neigh", "show", "nud", "permanent").stdout.splitlines()]
        for address in cut:
            self.inside(name, "neigh", "del", address, "dev", "eth0", check=False)
        return not cut

    def close(self):
        for name in self.names:
            ip("netns", "del", name, check=False)
        ip("link", "del", self.bridge, check=False)


class HostNode(GaleraNode):
    def __init__(self, network, n, directory, group, port):
        super().__init__(directory, f"node{n + 1}", group, port, host=network.addresses[n], options=("--bind-address=0.0.0.0",))
        self.process.argv = [*network.prefix(n), *self.process.argv]


class HostsSystem(System):
    """A broker, a dispatcher and a healthd on each host; robots outside."""

    def __init__(self, network, *args, **more):
        self.network = network
        size = len(network.names)
        super().__init__(*args, brokers=size, dispatchers=size, healthds=size, **more)

    def host(self, number):
        return self.network.addresses[number]

    def make(self, role, number):
        process = super().make(role, number)
        process.argv = [*self.network.prefix(number), *process.argv]
        return process

    def add_robot(self, name=None, **options):
        return super().add_robot(name, host=self.network.outside, **options)


class Hosts:
    """Network, cluster and system. `is_spread`: each dispatcher prefers the node of its own host; else all prefer the first."""

    def __init__(self, directory, portal, *, is_spread=False, settings=None):
        self.network = Network().start()
        self.galera = Galera(directory / "cluster", make_node=lambda *of: HostNode(self.network, *of), hosts=self.network.addresses)
        self.galera.start()
        self.databases = self.galera.create_database()
        self.system = HostsSystem(self.network, directory / "chasqui", self.databases[0], portal, settings={"db.host": self.galera.hosts(), **(settings or {})})
        if is_spread:
            for n in range(3):
                self.system.endpoints["dispatcher", n] = {"db.host": self.galera.hosts(first=n)}
            self.system.dispatchers = [self.system.make("dispatcher", n) for n in range(3)]

    def programs(self, n):
        """Those of a host, the node last."""
        return [self.system.dispatchers[n], self.system.brokers[n], self.system.healthds[n], self.galera.nodes[n].process]

    def wait_whole(self):
        """A node that ended by itself is started again, as a service manager does. One that stays outside is started anew, as an operator does. Both are
        said: how Galera heals is not what these tests are about."""
        try:
            wait_until(self.is_whole, 30, "all nodes are synced", every=0.2)
        except TimedOut:
            outside = [node for node in self.galera.nodes if node.status("cluster_status") != "Primary"]
            for node in outside:
                print(f"hosts: {node.name} did not come back by itself:\n{node.account()}")
                node.process.kill9()
                node.process.start()
            self.galera.wait_whole()

    def is_whole(self):
        for node in self.galera.nodes:
            if not node.process.alive():
                print(f"hosts: {node.name} ended by itself:\n{node.account()}")
                node.process.start()
        return all(node.is_synced(len(self.galera.nodes)) for node in self.galera.nodes)

    def close(self):
        """Answers what went wrong."""
        wrong = self.system.close()
        self.galera.close()
        self.network.close()
        return wrong
