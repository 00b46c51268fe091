# SPDX-License-Identifier: MIT
"""Three hosts, each with a database node, a broker, a dispatcher and a healthd, in namespaces of their own: cut, half cut, killed, stopped,
restarted, while lists, log-ins and a batch go on.

Callers at brokers that live are answered before their deadline, whatever happens. All is well ten seconds after the heal. Nothing is lost, nothing
is done twice, no company has two sessions. `make hosts` runs it with ten seeds, with all dispatchers on one node and spread over three.
"""

import http.client
import json
import os
import random
import threading
import time

import pymysql
import pytest

from harness.hosts import Hosts, hosts_missing
from harness.wait import PATIENCE, ran_s, wait_until

SEED = int(os.environ.get("CHASQUI_HOSTS_SEED", "1"))
FAULTS = int(os.environ.get("CHASQUI_HOSTS_FAULTS", "2"))
ITEMS = int(os.environ.get("CHASQUI_HOSTS_ITEMS", "150"))
DEADLINE_S = 10.0
WELL_AGAIN_S = 10  # after the heal

pytestmark = pytest.mark.xdist_group("galera")


@pytest.fixture
def hosts(request, tmp_path, portal):
    if why := hosts_missing():
        pytest.skip(f"no hosts: {why}")
    made = Hosts(tmp_path, portal, is_spread=request.param == "spread", settings={"db.back_after_s": 5, "healthd.timeout_ms": 2000, "healthd.down_after": 10})
    system = made.system
    request.node.systems = [system]
    system.setup()
    for _ in range(3):
        system.add_robot(capacity=ITEMS, login_ms="20-200")
    system.start().wait_ready()
    yield made
    wrong = made.close()
    assert not wrong, "\n".join(wrong)


class Load(threading.Thread):
    """Lists at one broker, one after the other, and a log-in now and then. Keeps (time, seconds, status) of each call; status 0 = no connection."""

    def __init__(self, system, number, sessions):
        super().__init__(daemon=True)
        self.api, self.number, self.sessions = system.api_at(number), number, sessions
        self.calls, self.opened, self.over = [], 0, threading.Event()

    def run(self):
        company = 100_000 * (self.number + 1)
        dice = random.Random(self.number)
        while not self.over.wait(0.05):
            began = ran_s()
            is_login = dice.random() < 0.05
            company += is_login
            try:
                status = (self.login(company) if is_login else self.list(dice)).status
            except (OSError, http.client.HTTPException):
                status = 0
            self.calls.append((began, ran_s() - began, status))
            self.opened += is_login and status == 200

    def login(self, company):
        return self.api.execute(company, headers={"X-Deadline-Ms": str(int(DEADLINE_S * 1000))}, timeout=DEADLINE_S * 2)

    def list(self, dice):
        return self.api.list(dice.choice(self.sessions), headers={"X-Deadline-Ms": str(int(DEADLINE_S * 1000))}, timeout=DEADLINE_S * 2)

    def since(self, moment):
        return [call for call in self.calls if call[0] >= moment]

    def is_well(self, moment):
        """A call that began after that was answered as it should be."""
        return any(status == 200 for _, _, status in self.since(moment))

    def longest_gap(self, begin, end):
        """The longest time between two answers 200, within these moments."""
        good = [began + took for began, took, status in self.calls if status == 200 and begin <= began <= end]
        return max((b - a for a, b in zip([begin, *good], [*good, end], strict=True)), default=end - begin)


class Faults:
    """What happens to hosts. Each answers which of them live on, and which are reached by callers meanwhile."""

    def __init__(self, made, dice):
        self.made, self.network, self.dice = made, made.network, dice
        self.stopped, self.killed = [], []

    def cut_pair(self):
        one, other = self.dice.sample(range(3), 2)
        self.network.drop(one, other)
        self.network.drop(other, one)
        return f"cut {one + 1}-{other + 1}", {0, 1, 2}

    def half_open(self):
        one, other = self.dice.sample(range(3), 2)
        self.network.drop(one, other)
        return f"half-open {one + 1}->{other + 1}", {0, 1, 2}

    def cut_host(self):
        one = self.dice.randrange(3)
        for other in {0, 1, 2} - {one}:
            self.network.drop(one, other)
            self.network.drop(other, one)
        return f"cut off {one + 1}", {0, 1, 2}

    def kill_host(self):
        one = self.dice.randrange(3)
        for program in self.made.programs(one):
            program.kill9()
        self.killed = [one]
        return f"kill {one + 1}", {0, 1, 2} - {one}

    def stop_host(self):
        one = self.dice.randrange(3)
        for program in self.made.programs(one):
            program.pause()
        self.stopped = [one]
        return f"stop {one + 1}", {0, 1, 2} - {one}

    def restart_all(self):
        """One program after the other, in order; a node waits until it is whole again."""
        for n in range(3):
            for program in (self.made.system.dispatchers[n], self.made.system.healthds[n], self.made.system.brokers[n]):
                program.restart()
            node = self.made.galera.nodes[n]
            node.stop()
            node.start(timeout=90)
            node.wait_synced(3)
        return "restart all", set()

    def heal(self):
        self.network.heal()
        for n in self.stopped:
            for program in reversed(self.made.programs(n)):
                program.resume()
        for n in self.killed:
            self.made.galera.nodes[n].process.start()
            for program in self.made.programs(n)[:3]:
                program.start()
        self.stopped, self.killed = [], []


def submit(system, number):
    """A batch that is accepted whole, wherever; the key makes one of all tries."""
    items = [{"company_id": 1000 * number + n, "params": {"usuario": "DEMO", "clave": "demo"}} for n in range(ITEMS)]
    body = {"portal": "sunat", "action": "sunat.menu_sol_login", "items": items,
            "then": [{"action": "sunat.buzon_list", "params": {"page": 1}}], "close": True}  # fmt: skip
    tries = iter(range(10_000))

    def accepted():
        try:
            return system.api_at(next(tries) % 3).post("/api/v1/app/batches", body, headers={"Idempotency-Key": f"hosts-{number}"}, timeout=20).expect(202).json
        except http.client.HTTPException as why:
            raise OSError(str(why)) from None

    return wait_until(accepted, 60, "the batch is accepted", every=0.3)["batch_id"]


def batch_of(made, batch_id):
    """(status, items by state), from the first node that answers."""
    for database in made.databases:
        try:
            status = database.value("SELECT status FROM chasqui_batches WHERE id = %s", batch_id)
            rows = database.rows("SELECT state, COUNT(*) AS n FROM chasqui_items WHERE batch_id = %s GROUP BY state", batch_id)
            return status, {row["state"]: row["n"] for row in rows}
        except pymysql.MySQLError:
            continue
    raise OSError("no node answers")


def play(made, faults, name, loads, number):
    """One fault under load. Answers its line for the table."""
    system = made.system
    batch_id = submit(system, number)
    began = ran_s()
    told, living = getattr(faults, name)()
    if name != "restart_all":
        time.sleep(20 if name == "stop_host" else faults.dice.uniform(8, 14))  # how long the fault lasts: not a wait for anything
    healed = ran_s()
    faults.heal()
    alive = [load for load in loads if load.number in living]
    first_s = {}
    for load in loads:
        wait_until(lambda load=load: load.is_well(healed), 90, f"broker {load.number + 1} is well after {told}")
        first_s[load.number] = next(began + took for began, took, status in load.since(healed) if status == 200) - healed
    for load in alive:
        late = [call for call in load.since(began) if call[1] > DEADLINE_S + 1 * PATIENCE]
        assert not late, f"{told}: broker {load.number + 1} answered late: {late}"
        assert not [call for call in load.since(began) if call[2] == 0 and name not in ("kill_host", "stop_host")], f"{told}: broker {load.number + 1} did not answer"
    made.wait_whole()
    wait_until(lambda: batch_of(made, batch_id)[0] == "done", 60 + ITEMS / 5, f"the batch is done after {told}: {batch_of(made, batch_id)}", every=0.3)
    states = batch_of(made, batch_id)[1]
    gap_s = max((load.longest_gap(began, healed) for load in alive), default=0)
    seconds = max(first_s[load.number] for load in (alive or loads))
    print(f"hosts: {told}: {healed - began:.0f} s; no 200 at a living broker for {gap_s:.1f} s at most; well {seconds:.1f} s after the heal; items {states}")
    return states, seconds


def whole(made, loads):
    """Nothing lost, nothing twice, nothing left behind."""
    system = made.system
    database = made.databases[0]
    assert system.portal.violations() == []
    twice = database.rows("SELECT job_id, COUNT(*) AS n FROM chasqui_job_events WHERE event IN ('done', 'failed', 'cancelled') GROUP BY job_id HAVING n > 1")
    assert not twice, f"jobs that ended twice: {twice[:5]}"
    system.wait_agreed()
    assert sum(load.opened for load in loads) <= database.value("SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("hosts", ["one node", "spread"], indirect=True)
def test_hosts_are_cut_killed_and_stopped(hosts):
    dice = random.Random(SEED)
    system = hosts.system
    sessions = [system.api.login(company) for company in range(1, 31)]
    loads = [Load(system, n, sessions) for n in range(3)]
    faults = Faults(hosts, dice)
    names = ["cut_pair", "half_open", "cut_host", "kill_host", "stop_host", "restart_all"]
    dice.shuffle(names)
    for load in loads:
        load.start()
    try:
        outcome = [play(hosts, faults, name, loads, number + 1) for number, name in enumerate(names[:FAULTS])]
    finally:
        faults.heal()
        for load in loads:
            load.over.set()
        for load in loads:
            load.join()
    assert [states for states, _ in outcome] == [{"done": ITEMS}] * len(outcome)
    slow = [seconds for _, seconds in outcome if seconds > WELL_AGAIN_S * PATIENCE]
    assert not slow, outcome
    whole(hosts, loads)
    print("hosts:", json.dumps({"calls": sum(len(load.calls) for load in loads), "log-ins": sum(load.opened for load in loads)}))
