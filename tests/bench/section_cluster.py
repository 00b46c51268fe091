# SPDX-License-Identifier: MIT
"""What a Galera cluster costs: lists, log-ins and a batch over one server, a cluster of one node and one of three.

All nodes are on this machine, so rates say less than the processor time of the databases for each operation, and what a commit sends to the other
nodes. Each node writes its log at each commit (innodb_flush_log_at_trx_commit = 1), as the server does. One of the databases runs at a time.
"""

import time

from chasqui import Chasqui
from harness import wait_until
from harness.galera import Galera, GaleraNode, galera_missing
from load import Target, wrk
from robots import Robots
from section_list import LIST
from section_queue import DRAIN_LIMIT_S, FIRST_DRAINED, batch_is_done, submit
from usage import Meter

TITLE = "Cluster"
CONNECTIONS = 64
SESSIONS = 10_000
BATCH = 6_000
DURABLE = ("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M")
POINTS = {"one server": 0, "a node": 1, "three nodes": 3}


def nodes_of(lab, size):
    def make(n, where, group, port):
        return GaleraNode(where, f"node{n + 1}", group, port, options=DURABLE)

    cluster = Galera(lab.room("cluster"), size, make).start()
    cluster.stop = cluster.close
    return lab.keep(cluster)


def sent_bytes(node):
    """What this node's commits sent to the group."""
    return int(node.status("replicated_bytes") or 0)


class Taken:
    """Processor time of all databases, and bytes sent, over a stretch."""

    def __init__(self, chasqui, nodes):
        self.nodes = nodes
        self.meter = Meter(chasqui.labels() | ({"mariadb": [node.process for node in nodes]} if nodes else {})).start()
        self.bytes = sent_bytes(nodes[0]) if nodes else 0

    def per(self, n):
        cpu_us = self.meter.per(n)
        told = {"cpu_us": {"databases": cpu_us["mariadb"], "dispatcher": cpu_us["dispatcher"]}}
        return told | {"sent_bytes": (sent_bytes(self.nodes[0]) - self.bytes) / max(1, n) if self.nodes else None}


def lists(lab, chasqui, nodes):
    target = Target("chasqui", chasqui.api_url(), lab.paths(LIST, chasqui.some_ids(SESSIONS)), chasqui.labels(), chasqui.token)
    target.load(CONNECTIONS, 1)
    taken = Taken(chasqui, nodes)
    told = target.load(CONNECTIONS, lab.options.seconds)
    return {"rate": told["rate"], "errors": told["errors"]} | taken.per(told["requests"])


def log_ins(lab, chasqui, nodes):
    taken = Taken(chasqui, nodes)
    told = wrk(chasqui.api_url(), "logins.lua", [20_000_000, chasqui.token], connections=CONNECTIONS, seconds=lab.options.seconds)
    return {"rate": told["rate"], "errors": told["errors"]} | taken.per(told["requests"])


def batch(lab, chasqui, nodes):
    n = BATCH // 10 if lab.options.short else BATCH
    taken = Taken(chasqui, nodes)
    answer, took_s = submit(chasqui, FIRST_DRAINED, n)
    number = answer.expect(202).json["batch_id"]
    started = time.monotonic()
    wait_until(lambda: batch_is_done(chasqui, number), DRAIN_LIMIT_S, "the batch is done", every=0.05)
    counts = chasqui.api.get(f"/api/v1/app/batches/{number}").expect(200).json["batch"]["counts"]
    return {"rate": n / (time.monotonic() - started + took_s), "errors": n - counts["done"]} | taken.per(n)


def measured(lab, title, size):
    nodes = nodes_of(lab, size).nodes if size else []
    robots = lab.keep(Robots(lab.room("cluster-robots"), 100, network=40 + size))
    chasqui = lab.keep(Chasqui(lab.room("chasqui"), nodes[0] if nodes else lab.mariadb, [robots], capacity=1000,
                               settings={"db.socket": None, "db.host": ",".join(node.address for node in nodes)} if nodes else {}))  # fmt: skip
    chasqui.fill(SESSIONS)
    told = {name: measure(lab, chasqui, nodes) for name, measure in (("list", lists), ("log-in", log_ins), ("item of a batch", batch))}
    for name, one in told.items():
        lab.say(f"  {title}, {name}: {one['rate']:,.0f}/s, databases {one['cpu_us']['databases']:,.0f} us, sent {one['sent_bytes'] or 0:,.0f} bytes, errors {one['errors']}")
    return told


def run(lab):
    if missing := galera_missing():
        return {"missing": missing}
    result = {}
    for title, size in POINTS.items():
        result[title] = measured(lab, title, size)
        lab.sections_end()
    return result
