# SPDX-License-Identifier: MIT
"""Many messages in one: what a broker gathers for a dispatcher that takes it, and what it takes from one."""

from broker_alone import SECRET, Later, Scripted, broker, make_broker  # noqa: F401
from harness.http import connect
from harness.wait import wait_until
from harness.wire import bundle, encode, unbundle

LIST = b"GET /api/v1/app/buzon/list?session_id=s%d HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + SECRET.encode() + b"\r\n\r\n"


class Gathering(Scripted):
    """Says `many`; opens what comes gathered and answers gathered."""

    def __init__(self, alone, name="d1"):
        self.gathered = 0
        super().__init__(alone, name=name)

    def send(self, message, payload=b"", /, **header):
        super().send(message, payload, **({**header, "many": True} if message == "HELLO" else header))

    def take(self, name, header, payload):
        if name != "MANY":
            super().take(name, header, payload)
            return
        inside = list(unbundle(payload))
        assert len(inside) == header["count"] > 1
        self.gathered += len(inside)
        for one in inside:
            super().take(*one)

    def reply_together(self, body):
        replies = [encode("REPLY", body, id=header["id"], status=200) for header, _ in self.held]
        for header, _ in self.held:
            self.finished[header.get("lane", 0)] += 1
        self.held = []
        self.send("MANY", bundle(replies), count=len(replies))
        self.ping()


def test_gathered_both_ways(broker):  # noqa: F811
    dispatcher = Gathering(broker)
    try:
        broker.api.session("x" * 101).expect(404)  # the token is known
        for _ in range(20):
            late = [Later(broker.api.list, f"s{n}") for n in range(6)]
            wait_until(lambda: len(dispatcher.held) == 6, 5, "all are with the dispatcher")
            dispatcher.order(dispatcher.reply_together, b'{"ok":true}')
            assert [one.answer().status for one in late] == [200] * 6
            if dispatcher.gathered:
                break
        assert broker.stat("flights") == 0 and broker.stat("bus_malformed_total") == 0
    finally:
        dispatcher.close()


def test_what_comes_at_a_time_goes_to_one(broker):  # noqa: F811
    both = [Gathering(broker, name) for name in ("d1", "d2")]
    try:
        broker.api.session("x" * 101).expect(404)
        wires = [connect(broker.url) for _ in range(6)]
        for _ in range(20):
            broker.pause()
            for n, wire in enumerate(wires):
                wire.sendall(LIST % n)
            broker.resume()
            wait_until(lambda: sum(len(one.held) for one in both) == 6, 5, "all are with the dispatchers")
            is_one = not both[0].held or not both[1].held
            for one in both:
                if one.held:
                    one.order(one.reply_together, b'{"ok":true}')
            assert all(b" 200 " in wire.recv(65536).split(b"\r\n")[0] for wire in wires)
            if is_one:  # else the broker read them in two turns
                break
        assert is_one
        for wire in wires:
            wire.close()
    finally:
        for one in both:
            one.close()


def test_malformed_bundles_are_counted(broker):  # noqa: F811
    dispatcher = Gathering(broker)
    try:
        broker.api.session("x" * 101).expect(404)
        late = Later(broker.api.list, "s")
        wait_until(lambda: dispatcher.held, 5, "it is with the dispatcher")
        header, _ = dispatcher.held[0]
        good = bundle([encode("REPLY", b'{"ok":true}', id=header["id"], status=200)])
        nested = bundle([encode("MANY", good, count=1)])
        for bad in (b"\xff" * 40, good[:-1], nested):
            dispatcher.order(dispatcher.send, "MANY", bad, count=1)
        wait_until(lambda: broker.stat("bus_malformed_total") == 3, 5, "all are counted")
        assert not late.result
        dispatcher.order(dispatcher.send, "MANY", good + b"\0", count=1)  # what is whole counts
        late.answer().expect(200)
        wait_until(lambda: broker.stat("bus_malformed_total") == 4, 5)
    finally:
        dispatcher.close()


def test_a_dispatcher_that_does_not_take_it(broker):  # noqa: F811
    dispatcher = Scripted(broker)
    try:
        broker.api.session("x" * 101).expect(404)
        late = [Later(broker.api.list, f"s{n}") for n in range(6)]
        dispatcher.wait_seen("BUZON_LIST", 6)
        assert not dispatcher.saw("MANY")
        for header, _ in list(dispatcher.held):
            dispatcher.order(dispatcher.reply, header, b'{"ok":true}')
        assert [one.answer().status for one in late] == [200] * 6
    finally:
        dispatcher.close()
