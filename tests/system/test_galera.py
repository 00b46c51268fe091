"""Over a real Galera cluster of three nodes. One worker runs all of it: a cluster takes a while to start."""

import os
import re
import subprocess

import pymysql
import pytest
from harness import program, wait_until

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
