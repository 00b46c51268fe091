# SPDX-License-Identifier: MIT
"""Over a real Galera cluster of three nodes. One worker runs all of it: a cluster takes a while to start."""

import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pymysql
import pytest
from harness import DatabaseProxy, program, wait_until
from harness.galera import Galera

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
    caught_up = wait_until(lambda: sum(spread.metric("chasqui_database_caught_up_total", n) for n in range(3)), 10, "dispatchers caught up, and told it")
    print(f"{TRIES} tries over three nodes in {time.monotonic() - began:.0f} s: {len(wrong)} wrong, {caught_up:.0f} times caught up")
    assert not wrong


@pytest.fixture
def late(galera, databases, make_system):
    """Three brokers, each with a dispatcher that writes to a node of its own. commits_late() holds their COMMITs back: transactions run side by side."""
    system = make_system(ready=False, robots=2, capacity=200, database=databases[0], brokers=3, dispatchers=3)
    proxies = [DatabaseProxy("127.0.0.1", node.port).start() for node in galera.nodes]
    for n, proxy in enumerate(proxies):
        system.endpoints["dispatcher", n] = {"db.host": f"127.0.0.1:{proxy.port}", "dispatcher.brokers": system.endpoints["broker", n]["broker.bind"]}
    system.dispatchers = [system.make("dispatcher", n) for n in range(3)]
    system.start().wait_ready().wait_probed()
    system.commits_late = lambda seconds: [proxy.inject("^COMMIT$", do="late", late_s=seconds) for proxy in proxies]
    yield system
    for proxy in proxies:
        proxy.clear()


def test_four_at_once_move_to_a_robot_across_nodes(late, databases):
    """Two robots are emptied; their sessions log in at the third one, at most four at a time, whichever dispatchers do it."""
    late.add_robot(capacity=200, login_ms="1000")
    late.ctl("worker", "disable", "r3")
    for company in range(1, 13):
        late.set_credentials(company, usuario="u", clave="c")
        late.api_at(company % 3).login(company)
    late.ctl("worker", "resume", "r3")
    late.commits_late(0.2)
    for name in ("r1", "r2"):
        late.ops.post(f"/api/v1/ops/workers/{name}/drain", {"deadline_s": 0}).expect(200)
    most = 0

    def all_moved():
        nonlocal most
        [row] = databases[1].rows(
            "SELECT COALESCE(SUM(s.state = 'opening'), 0) AS opening, COALESCE(SUM(s.state = 'active'), 0) AS moved FROM chasqui_sessions s "
            "JOIN chasqui_robots r ON r.id = s.robot_id WHERE r.name = 'r3' AND s.live = 1"
        )
        most = max(most, int(row["opening"]))
        return row["moved"] == 12

    wait_until(all_moved, 60, "all sessions moved")
    print(f"at most {most} moved at once")
    assert 1 <= most <= 4


class Lister(threading.Thread):
    """Lists a session every 50 ms, and knows the longest time without an answer."""

    def __init__(self, api, session):
        super().__init__(daemon=True)
        self.api, self.session, self.over, self.longest_s = api, session, threading.Event(), 0.0

    def run(self):
        well = time.monotonic()
        while not self.over.wait(0.05):
            if self.api.list(self.session).status == 200:
                self.longest_s = max(self.longest_s, time.monotonic() - well)
                well = time.monotonic()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def nodes_of(system):
    """What each dispatcher says of the server that it uses, as operators see it."""
    return {one["name"]: one["database"] for one in system.ops.get("/api/v1/ops/dispatchers").expect(200).json["dispatchers"] if one["connected"]}


def said(system, word):
    """The sentences of that kind in the headline."""
    return [one["text"] for one in system.ops.get("/api/v1/ops/stats").expect(200).json["words"] if one["code"] == word]


def test_a_node_that_is_cut_off_is_left(galera, databases, make_system):
    """It answers 1047. Both dispatchers go to the second node, and come back when the first has been well for db.back_after_s."""
    system = make_system(database=databases[0], dispatchers=2, settings={"db.host": galera.hosts(), "db.back_after_s": 3})
    first, second, _ = galera.nodes
    session = system.api.login(1)
    wait_until(lambda: {(d["host"], d["node_state"], d["cluster_size"], d["hosts"]) for d in nodes_of(system).values()} == {(first.address, "Synced", 3, 3)}, 10, "operators see the node")
    assert not said(system, "database_cluster_small")
    marks = [dispatcher.mark() for dispatcher in system.dispatchers]
    with Lister(system.api, session) as lister:
        first.cut()
        began = time.monotonic()
        for dispatcher, mark in zip(system.dispatchers, marks, strict=True):
            dispatcher.wait_log(rf"database to=up host={second.address}", 60, mark)
        moved_s = time.monotonic() - began
        wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
    print(f"dispatchers are on the next node {moved_s:.1f} s after the cut; lists stood for {lister.longest_s:.1f} s at most")
    system.api.login(2)
    wait_until(lambda: {(d["host"], d["cluster_size"]) for d in nodes_of(system).values()} == {(second.address, 2)}, 30, "operators see the other node")
    assert said(system, "database_cluster_small") == ["2 of 3 database nodes are in touch."]
    metrics = system.ops.get("/metrics").body.decode()
    assert re.search(rf'chasqui_dispatcher_database_host{{name="[^"]+",host="{second.address}",node_state="Synced"}} 1', metrics)
    marks = [dispatcher.mark() for dispatcher in system.dispatchers]
    galera.ensure_whole()
    for dispatcher, mark in zip(system.dispatchers, marks, strict=True):
        dispatcher.wait_log(rf"database to=up host={first.address}", 60, mark)
    system.api.login(3)
    assert system.api.list(session).status == 200
    wait_until(lambda: not said(system, "database_cluster_small"), 30, "all three are in touch")


def test_a_node_that_may_be_behind_is_left(galera, databases, make_system):
    """A donor, or one that an operator took out of flow control, takes writes and may lag. Another one that is Synced is used meanwhile."""
    system = make_system(database=databases[0], settings={"db.host": galera.hosts(), "db.back_after_s": 1})
    first, second, third = galera.nodes
    session = system.api.login(1)
    try:
        first.sql("SET GLOBAL wsrep_desync = ON")
        others = [{(node.address, "Synced")} for node in (second, third)]
        wait_until(lambda: {(d["host"], d["node_state"]) for d in nodes_of(system).values()} in others, 30, "another node, which is Synced, is used")
        wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
        system.api.login(2)
    finally:
        first.sql("SET GLOBAL wsrep_desync = OFF")
    wait_until(lambda: [d["host"] for d in nodes_of(system).values()] == [first.address], 30, "it is used again when it is Synced")
    wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")


def test_all_that_may_be_behind_are_used(galera, databases, make_system):
    system = make_system(database=databases[0], settings={"db.host": galera.nodes[0].address})
    try:
        galera.nodes[0].sql("SET GLOBAL wsrep_desync = ON")
        wait_until(lambda: said(system, "database_node_behind"), 30, "it is said")
        system.api.login(1)
    finally:
        galera.nodes[0].sql("SET GLOBAL wsrep_desync = OFF")
    wait_until(lambda: not said(system, "database_node_behind"), 30, "it is over")


def test_servers_that_are_not_ours_are_left_alone(galera, databases, mariadb, make_system, tmp_path):
    """One without our tables; one that has them and is no node of this cluster; a name that does not resolve. Each is named once, and never used."""
    ours = databases[0]
    mariadb.create_database(name=ours.name, user=ours.user, password=ours.password)
    plain = f"127.0.0.1:{mariadb.port}"
    first, second, _ = galera.nodes
    hosts = f"{first.address}, {plain}, nobody.invalid:3306, {second.address}"
    system = make_system(database=ours, settings={"db.host": hosts, "db.back_after_s": 1})
    session = system.api.login(1)

    def left_for_second(why):
        """The first node takes no writes for a while: what is said of the plain server then."""
        first.sql("SET GLOBAL read_only = 1")
        try:
            wait_until(lambda: [d["host"] for d in nodes_of(system).values()] == [second.address], 30, "the second node is used")
            wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
            [now] = nodes_of(system).values()
            assert now["left_alone"] == [{"host": plain, "why": why}]
            assert said(system, "database_host_left") == [f"Database server {plain} of db.host is left alone: {why}."]
        finally:
            first.sql("SET GLOBAL read_only = 0")
        wait_until(lambda: [d["host"] for d in nodes_of(system).values()] == [first.address], 30, "the first node is used again")

    try:
        left_for_second("it has no tables of ours")
        conf = tmp_path / "plain.conf"
        conf.write_text(Path(system.conf).read_text(encoding="utf-8").replace(hosts, plain), encoding="utf-8")
        system.ctl("migrate", conf=conf)
        left_for_second("it is not a node of the cluster that is used")
        log = system.dispatchers[0].text()
        assert len(re.findall(rf"event=database_host_left host={plain}", log)) == 2, log
        told = system.ctl("doctor", "--json", check=False)
        found = {one["check"]: one["text"] for one in json.loads(told.stdout)["findings"]}
        assert plain in found["database_other_cluster"] and "nobody.invalid" in found["database_host"]
        with mariadb.root() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM `{ours.name}`.chasqui_sessions")
            assert cursor.fetchone() == (0,), "nothing was written there"
    finally:
        mariadb.sql(f"DROP DATABASE `{ours.name}`")


def dump_restore(node, into, name):
    """docs/several-hosts.md: a dump of one node, into another server."""
    dump = ["mariadb-dump", "--no-defaults", "-uroot", f"--socket={node.socket}", "--single-transaction", "--routines", "--triggers", name]
    told = subprocess.run(dump, capture_output=True, check=True, timeout=120).stdout
    subprocess.run(["mariadb", "--no-defaults", "-uroot", f"--socket={into.socket}", name], input=told, check=True, timeout=120)


@pytest.mark.skipif(not IS_FULL, reason="make hosts: it starts a cluster of its own")
def test_a_backup_is_restored_into_a_new_cluster(galera, databases, make_system, tmp_path):
    """From a node that nobody writes to, while work goes on; then all of the old cluster is lost. Sessions and queued items are there."""
    system = make_system(database=databases[0], capacity=50, settings={"db.host": galera.hosts()})
    sessions = [system.api.login(company) for company in range(1, 6)]
    system.ctl("queue", "pause")
    batch = system.api.batch(list(range(101, 111))).expect(202).json["batch_id"]
    wait_until(lambda: databases[2].value("SELECT COUNT(*) FROM chasqui_items WHERE batch_id = %s", batch) == 10, 30, "the third node has the batch")
    new = Galera(tmp_path / "new", 1).start()
    try:
        [node] = new.nodes
        made = node.create_database(name=databases[0].name, user=databases[0].user, password=databases[0].password)
        dump_restore(galera.nodes[2], node, made.name)
        system.dispatcher.stop()
        system.settings["db.host"] = node.address
        system.settings["db.port"] = node.port
        system.conf = system.write_conf("chasqui", system.settings)
        system.database = made
        system.dispatchers = [system.make("dispatcher", 0)]
        system.dispatcher.start()
        for session in sessions:
            wait_until(lambda s=session: system.api.list(s).status == 200, 30, "a session of before is listed")
        system.ctl("queue", "resume")
        wait_until(lambda: system.api.get(f"/api/v1/app/batches/{batch}").expect(200).json["batch"]["counts"]["done"] == 10, 60, "its items are done")
        system.wait_healthy()
    finally:
        system.dispatcher.stop()
        new.close()


def test_a_connection_that_breaks_while_it_catches_up(galera, databases, make_system):
    """A new connection to a node waits for what the others committed. When it breaks there, it is no connection; the next one is."""
    proxy = DatabaseProxy("127.0.0.1", galera.nodes[0].port).start()
    try:
        system = make_system(database=databases[0], settings={"db.host": f"127.0.0.1:{proxy.port}", "db.stall_ms": 2000})
        session = system.api.login(1)
        rule = proxy.inject("wsrep_sync_wait", do="cut", times=6)
        proxy.cut()
        wait_until(lambda: rule.hits >= 6, 30, "new connections broke")
        wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
        refused = proxy.inject("wsrep_sync_wait", error=1205, times=6)
        proxy.cut()
        wait_until(lambda: refused.hits >= 6, 30, "new connections could not catch up")
        wait_until(lambda: system.api.list(session).status == 200, 30, "lists are answered")
    finally:
        proxy.clear()
