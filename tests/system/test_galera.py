# SPDX-License-Identifier: MIT
"""Over a real Galera cluster of three nodes. One worker runs all of it: a cluster takes a while to start."""

import os
import re
import subprocess
import threading
import time

import pymysql
import pytest
from harness import program, wait_until

TRIES = int(os.environ.get("HOSTS_TRIES", "24"))
IS_FULL = "HOSTS_TRIES" in os.environ  # make hosts

pytestmark = pytest.mark.xdist_group("galera")


@pytest.fixture
def databases(galera):
    """One database, as each node shows it."""
    made = galera.create_database()
    yield made
    galera.drop_database(made[0])


def error_of(database):
    """The number of the error that a read comes back with, or None."""
    try:
        database.rows("SELECT * FROM seen")
        return None
    except pymysql.MySQLError as why:
        return why.args[0]


def test_a_node_that_is_cut_off_answers_1047(galera, databases):
    """What the dispatcher's tests rely on: a write is everywhere, a cut node refuses reads, the others go on, and it comes back."""
    first, second, third = databases
    first.execute("CREATE TABLE seen (id INT PRIMARY KEY)")
    second.execute("SET STATEMENT wsrep_sync_wait = 15 FOR INSERT INTO seen VALUES (1)")
    wait_until(lambda: error_of(third) is None and third.rows("SELECT id FROM seen"), 30, "the third node has the row")
    galera.nodes[0].cut()
    wait_until(lambda: error_of(first) == 1047, 60, "the first node has no quorum")
    second.execute("INSERT INTO seen VALUES (2)")
    galera.ensure_whole()
    wait_until(lambda: error_of(first) is None and len(first.rows("SELECT id FROM seen")) == 2, 30, "the first node has both rows")


def torn(galera, how, database, rounds):
    """Runs tests/hosts/torn.c; answers (aborted, torn)."""
    database.execute("CREATE OR REPLACE TABLE torn (id INT PRIMARY KEY, token INT NOT NULL DEFAULT 0, other INT NOT NULL DEFAULT 0)")
    database.execute("INSERT INTO torn (id) SELECT seq FROM seq_1_to_1000")
    first, second, _ = galera.nodes
    words = [program("tests/hosts/torn"), how, first.address, second.address, database.user, database.password, database.name, rounds]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return tuple(map(int, re.search(r"aborted (\d+) torn (\d+)", done.stdout).groups()))


@pytest.mark.skipif(not IS_FULL, reason="make hosts: it shows the server's ways, and takes a chance for that")
def test_arrays_tear_transactions(galera, databases):
    """The connector's arrays leave half a transaction behind when the cluster aborts it in the middle."""
    aborted, halves = 0, 0
    for _ in range(20):  # until it was seen: on a busy machine few aborts come in the middle
        more = torn(galera, "arrays", databases[0], 10)
        aborted, halves = aborted + more[0], halves + more[1]
        if halves:
            break
    print(f"arrays: {aborted} aborted, {halves} torn")


def test_no_torn_transaction(galera, databases):
    """db_tx() and db_bulk() leave nothing behind when the cluster aborts them, and run again."""
    aborted, halves = 0, 0
    for _ in range(10):
        more = torn(galera, "store", databases[0], 10)
        aborted, halves = aborted + more[0], halves + more[1]
        if aborted >= 10:
            break
    print(f"store: {aborted} aborted and run again, {halves} torn")
    assert aborted and not halves


class Noise:
    """Big transactions at one node: what the others apply comes late."""

    def __init__(self, database):
        self.database, self.over = database, threading.Event()
        database.execute("CREATE OR REPLACE TABLE noise (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0)")
        database.execute("INSERT INTO noise (id) SELECT seq FROM seq_1_to_3000")
        self.thread = threading.Thread(target=self.make)

    def make(self):
        while not self.over.is_set():
            self.database.execute("UPDATE noise SET n = n + 1")

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture
def spread(galera, databases, make_system):
    """Three brokers, each with a dispatcher that writes to a node of its own."""
    system = make_system(ready=False, robots=2, capacity=200, database=databases[0], brokers=3, dispatchers=3)
    for n, node in enumerate(galera.nodes):
        system.endpoints["dispatcher", n] = {"db.host": node.address, "dispatcher.brokers": system.endpoints["broker", n]["broker.bind"]}
    system.dispatchers = [system.make("dispatcher", n) for n in range(3)]
    system.start().wait_ready().wait_probed()
    return system


def wrong_answers(system, number, apis):
    """What one dispatcher has answered with success is asked of the others at once. Answers what they denied."""
    first, second, third = apis[number % 3], apis[(number + 1) % 3], apis[(number + 2) % 3]
    company = 1000 + number
    session = first.login(company)
    told = [("list", second.list(session)), ("show", third.get(f"/api/v1/app/sessions/{session}"))]
    if number % 3 == 0:
        key = {"Idempotency-Key": f"key-{number}"}
        batch = first.batch([company], headers=key).expect(202).json
        again = third.batch([company], headers=key)
        told += [("batch", second.get(f"/api/v1/app/batches/{batch['batch_id']}")), ("batch again", again)]
        if again.json.get("batch_id") != batch["batch_id"]:
            told.append(("another batch", again))
    closed = third.close(session)
    return [(what, answer) for what, answer in (*told, ("close", closed)) if answer.status not in (200, 202)]


def test_what_one_node_took_the_others_know(spread, databases):
    apis = [spread.api_at(n) for n in range(3)]
    began, wrong = time.monotonic(), []
    with Noise(databases[0]):
        for number in range(TRIES):
            wrong += wrong_answers(spread, number, apis)
    caught_up = sum(spread.metric("chasqui_database_caught_up_total", n) for n in range(3))
    print(f"{TRIES} tries over three nodes in {time.monotonic() - began:.0f} s: {len(wrong)} wrong, {caught_up:.0f} times caught up")
    assert not wrong
    assert caught_up


def test_a_node_that_is_cut_off_is_left(galera, databases, make_system):
    """It answers 1047. Both dispatchers go to the second node, and come back when the first has been well for db.back_after_s."""
    system = make_system(database=databases[0], dispatchers=2, settings={"db.host": galera.hosts(), "db.back_after_s": 3})
    first, second, _ = galera.nodes
    session = system.api.login(1)
    marks = [dispatcher.mark() for dispatcher in system.dispatchers]
    first.cut()
    began = time.monotonic()
    for dispatcher, mark in zip(system.dispatchers, marks, strict=True):
        dispatcher.wait_log(rf"database to=up host={second.address}", 60, mark)
    wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
    print(f"lists are answered {time.monotonic() - began:.1f} s after the cut")
    system.api.login(2)
    marks = [dispatcher.mark() for dispatcher in system.dispatchers]
    galera.ensure_whole()
    for dispatcher, mark in zip(system.dispatchers, marks, strict=True):
        dispatcher.wait_log(rf"database to=up host={first.address}", 60, mark)
    system.api.login(3)
    assert system.api.list(session).status == 200
