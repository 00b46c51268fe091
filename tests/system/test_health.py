# SPDX-License-Identifier: MIT
"""healthd, spoken to by the second implementation of the wire."""

import pytest

from harness.wait import wait_until
from harness.wire import HealthPeer, encode

NAME, VERDICT, SINCE, SESSIONS, CAPACITY, BOOT, WHY = range(7)


@pytest.fixture
def healthd(make_system):
    """healthd alone, and a peer."""
    system = make_system(robots=0, ready=False, brokers=0, dispatchers=0)
    system.check_doctor = False
    system.start()
    keys, at = system.directory / "keys", system.endpoints["healthd", 0]
    peers = []

    def peer():
        peers.append(HealthPeer(at["healthd.bind"], at["healthd.control"], keys))
        while not peers[-1].next(10).get("full"):  # the state of its subscription: what was told just before may come first
            pass
        return peers[-1]

    system.peer = peer
    yield system
    for one in peers:
        one.close()


def test_up_suspect_down_up(healthd, robot_factory):
    robot, peer = robot_factory("r1", capacity=7), healthd.peer()
    peer.tell(5, [["r1", robot.url, "active"]])
    row = peer.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "up")["r1"]
    assert row[CAPACITY] == 8 and row[SESSIONS] == 1 and row[BOOT]
    robot.behave("health", "status", status=500)
    assert peer.wait(lambda known: known["r1"][VERDICT] == "suspect")["r1"][WHY] == "status_500"
    peer.wait(lambda known: known["r1"][VERDICT] == "down")
    robot.behave_well()
    row = peer.wait(lambda known: known["r1"][VERDICT] == "up")["r1"]
    assert row[WHY] == "" and row[SINCE] > 1_600_000_000_000
    for line in ("from=unknown to=up", "from=up to=suspect", "from=suspect to=down", "from=down to=up"):
        wait_until(lambda line=line: f"event=went robot=r1 {line}" in healthd.healthd.log.read_text(), 5, line)  # a thread writes it
    assert robot.url not in healthd.healthd.log.read_text()


@pytest.mark.parametrize("mode, why", [("hang", "timeout"), ("reset", "reset"), ("garbage", None), ("redirect", "status_302"),
                                       ("endless", None), ("not_json", "not_json"), ("empty", None), ("drip", None)])  # fmt: skip
def test_sick_in_every_way(healthd, robot_factory, mode, why):
    robot, well, peer = robot_factory("r1"), robot_factory("r2"), healthd.peer()
    more = {"location": "http://127.0.0.1:1/"} if mode == "redirect" else {"bytes_per_s": 5} if mode == "drip" else {}
    robot.behave("health", mode, **more)
    peer.tell(1, [["r1", robot.url, "active"], ["r2", well.url, "active"]])
    known = peer.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "down" and known.get("r2", [0, ""])[VERDICT] == "up")
    assert known["r1"][WHY] and (why is None or known["r1"][WHY] == why)


def test_a_robot_that_is_not_there(healthd):
    peer = healthd.peer()
    peer.tell(1, [["r1", "http://127.0.0.1:1", "active"]])
    assert peer.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "down")["r1"][WHY] == "refused"


def test_late_joiners_get_everything_at_once(healthd, robot_factory):
    robot, first = robot_factory("r1"), healthd.peer()
    first.tell(1, [["r1", robot.url, "active"]])
    first.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "up")
    late = healthd.peer()
    assert late.known["r1"][VERDICT] == "up" and late.incarnation == first.incarnation


def test_the_highest_revision_wins(healthd, robot_factory):
    robot, peer = robot_factory("r1"), healthd.peer()
    peer.tell(7, [["r1", robot.url, "active"]])
    peer.wait(lambda known: "r1" in known)
    peer.tell(6, [])
    peer.tell(7, [])
    peer.wait(lambda known: known["r1"][VERDICT] == "up")
    peer.tell(8, [["r2", robot.url, "active"]])
    peer.wait(lambda known: "r1" not in known and "r2" in known)


def test_a_new_boot_is_told_at_once(healthd, robot_factory):
    robot, peer = robot_factory("r1"), healthd.peer()
    peer.tell(1, [["r1", robot.url, "active"]])
    before = peer.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "up")["r1"][BOOT]
    after = robot.reboot()
    assert before != after
    peer.wait(lambda known: known["r1"][BOOT] == after)


def test_malformed_lists_change_nothing(healthd, robot_factory):
    robot, peer = robot_factory("r1"), healthd.peer()
    peer.tell(1, [["r1", robot.url, "active"]])
    peer.wait(lambda known: known.get("r1", [0, ""])[VERDICT] == "up")
    for payload in (b"\xdd\xff\xff\xff\xff", b"\x91\x93\xa1a\xa1b", b"\x91\x93\xa1a\xa1b\xa1c", b"\xc1"):
        peer.control.socket.send_multipart(encode("ROBOTS", payload, revision=99))
    peer.control.socket.send_multipart([b"\x02\x11", b"\x80"])
    peer.control.socket.send_multipart([b"x"] * 9)
    peer.tell(2, [["r1", robot.url, "active"], ["r3", "http://127.0.0.1:1", "active"]])
    peer.wait(lambda known: "r3" in known and known["r1"][VERDICT] == "up")


def test_sigterm_ends_it(healthd):
    healthd.peer()
    healthd.healthd.stop()
    wait_until(lambda: not healthd.healthd.alive(), 5, "it ended")
