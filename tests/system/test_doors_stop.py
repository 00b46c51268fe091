# SPDX-License-Identifier: MIT
"""A broker that starts and stops beside others: what came before its doors closed is answered, and what comes later is refused at once."""

import http.client
import json
import signal
import socket
import threading
import time

import pytest

from broker_alone import SECRET, Later, LoneBroker, Scripted, make_broker, make_dispatcher, says  # noqa: F401
from harness.http import Api, Client, connect
from harness.wait import wait_until

LIST = "/api/v1/app/buzon/list?session_id=s"


def kept_get(connection):
    """One list on a kept connection; (status, does it end)."""
    connection.request("GET", LIST, headers={"Authorization": f"Bearer {SECRET}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection") == "close"


def ready_why(alone):
    answer = Client(alone.ops_url).get("/readyz")
    return answer.status, answer.json.get("why") or answer.json.get("reason")


def test_the_app_listener_opens_when_a_dispatcher_greets(tmp_path):
    alone = LoneBroker(tmp_path / "b", {"broker.start_delay_ms": 60000}).up()
    try:
        assert ready_why(alone) == (503, "starting")
        with pytest.raises(ConnectionRefusedError):
            connect(alone.url)
        first = Scripted(alone, on={"BUZON_LIST": says(b"{}")})
        alone.wait_log("event=open")
        alone.api.list("s").expect(200)
        first.close()
    finally:
        assert alone.stop() == 0


def test_it_opens_after_a_while_by_itself(make_broker):
    alone = make_broker({"broker.start_delay_ms": 4000})
    assert ready_why(alone) == (503, "starting")
    alone.wait_log("event=open", 20)
    alone.api.list("s").expect(503, "no_dispatcher")


def test_on_sigterm_it_serves_on_and_lets_connections_go(tmp_path):
    alone = LoneBroker(tmp_path / "b", {"broker.stop_delay_ms": 6000}).up()
    asked = Scripted(alone, on={"BUZON_LIST": says(b"{}")})
    wait_until(alone.ready, 10)
    try:
        kept, idle = [http.client.HTTPConnection(*alone.settings["broker.http"].split(":")) for _ in range(2)]
        assert kept_get(kept) == (200, False) and kept_get(idle) == (200, False)
        alone.told_to_end = True
        alone.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: ready_why(alone) == (503, "stopping"), 5)
        assert Client(alone.ops_url).get("/healthz").status == 200
        assert kept_get(kept) == (200, True)
        answer = alone.api.list("s").expect(200)  # new connections are taken, too
        assert answer.headers["Connection"] == "close"
        slow = asked.on.pop("BUZON_LIST") and Later(alone.api.list, "slow")
        header = wait_until(lambda: asked.held and asked.held[0][0], 5)
        asked.wait_seen("BYE", timeout=10)  # the doors close now
        wait_until(lambda: refused(alone.url), 5)
        asked.on["BUZON_LIST"] = says(b"{}")
        assert kept_get(idle) == (200, True)  # an idle connection is served to the last
        assert alone.alive()
        asked.order(asked.reply, header, b'{"late":1}')
        assert slow.answer().expect(200).json == {"late": 1}
        assert alone.popen.wait(20) == 0
    finally:
        asked.close()
        alone.kill9()


def refused(url):
    try:
        connect(url).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # its SYN was dropped, or it was reset
        return False
    return False


def test_sigint_stops_at_once(tmp_path):
    alone = LoneBroker(tmp_path / "b", {"broker.stop_delay_ms": 60000}).up()
    alone.told_to_end = True
    began = time.monotonic()
    alone.popen.send_signal(signal.SIGINT)
    assert alone.popen.wait(20) == 0 and time.monotonic() - began < 10


class Asker(threading.Thread):
    """Lists, each on a connection of its own; every one that was connected must be answered."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.at = url.removeprefix("http://").split(":")
        self.answered, self.refused, self.lost, self.ended = 0, 0, [], False
        self.start()

    def run(self):
        request = f"GET {LIST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
        while not self.ended and self.refused < 5:
            try:
                wire = socket.create_connection((self.at[0], int(self.at[1])), timeout=30)
            except OSError:
                self.refused += 1
                continue
            with wire:
                try:
                    wire.sendall(request)
                    got = wire.recv(65536)
                except OSError as why:
                    got = repr(why).encode()
            if got.startswith(b"HTTP/1.1 200"):
                self.answered += 1
            else:
                self.lost.append(got)


def test_nothing_that_came_before_the_doors_closed_is_lost(tmp_path):
    for turn in range(4):
        alone = LoneBroker(tmp_path / f"b{turn}", {"broker.stop_delay_ms": 300}).up()
        asked = Scripted(alone, on={"BUZON_LIST": says(b"{}")})
        try:
            askers = [Asker(alone.url) for _ in range(8)]
            wait_until(lambda: all(one.answered > 3 for one in askers), 20)
            assert alone.stop() == 0
            for one in askers:
                one.join(30)
            assert not [one.lost for one in askers if one.lost]
        finally:
            asked.close()
            alone.kill9()


def test_a_stop_waits_for_half_a_head_only_for_a_while(tmp_path):
    alone = LoneBroker(tmp_path / "b", {"broker.request_timeout_ms": 60000}).up()
    asked = Scripted(alone, on={"BUZON_LIST": says(b"{}")})
    head = f"GET {LIST} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode()
    slow, silent = connect(alone.url), connect(alone.url)
    try:
        for wire in (slow, silent):
            wire.sendall(head[:-2])
        wait_until(lambda: alone.stat("http_strangers") == 2, 5)
        alone.signal(signal.SIGTERM)
        alone.wait_log("event=drain")
        slow.sendall(head[-2:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200"), "who goes on is answered"
        assert alone.popen.wait(20) == 0, "the deadline of requests is 30 s"
    finally:
        asked.close()
        alone.kill9()
        slow.close()
        silent.close()
