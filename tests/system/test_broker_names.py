# SPDX-License-Identifier: MIT
"""Brokers behind one name in dispatcher.brokers: each of its addresses is connected, and the name is followed."""

import pytest

from harness.http import Api
from harness.ports import free_port
from harness.wait import wait_until

NAME = "brokers.well.test"
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    static __thread unsigned turn;
    char lines[8][64];
    unsigned n = 0;
    struct addrinfo **end = out;
    if (!node || strcmp(node, "brokers.well.test") != 0)
        return real(node, service, hints, out);
    FILE *file = fopen(getenv("NAME_FILE"), "r");
    while (file && n < 8 && fscanf(file, "%63s", lines[n]) == 1)
        n++;
    if (file)
        fclose(file);
    *out = NULL;
    turn++;
    for (unsigned i = 0; i < n; i++) { /* in another order each time, as name servers do */
        if (real(lines[(i + turn) % n], NULL, hints, end) != 0)
            return EAI_FAIL;
        while (*end)
            end = &(*end)->ai_next;
    }
    return n ? 0 : EAI_NONAME;
}
"""


class Name:
    def __init__(self, path):
        self.path = path

    def set(self, *addresses):
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{address}\n" for address in addresses), encoding="ascii")
        new.rename(self.path)


@pytest.fixture
def name(tmp_path):
    return Name(tmp_path / "name")


@pytest.fixture
def make_named(make_system, preloaded, name):
    """A system whose dispatcher knows its brokers by name; those stand at these addresses."""

    def make(*binds):
        port = free_port()
        system = make_system(ready=False, brokers=len(binds), settings={"dispatcher.brokers": f"tcp://{NAME}:{port}"})
        for number, address in enumerate(binds):
            system.endpoints["broker", number]["broker.bind"] = f"tcp://{address}:{port}"
        system.settings["dispatcher.brokers"] = f"tcp://{NAME}:{port}"
        system.brokers = [system.make("broker", number) for number in range(len(binds))]
        system.dispatchers = [system.make("dispatcher", 0)]
        system.dispatcher.env.update(preloaded("names", SHIM), NAME_FILE=str(name.path))
        return system

    return make


def lost(system, number):
    """What that broker says of brokers that are not reached."""
    ops = Api(system.ops_url_of(number), system.token)
    return [one["text"] for one in ops.get("/api/v1/ops/stats").expect(200).json["words"] if one["code"] == "broker_lost"]


@pytest.mark.long(50)
def test_a_name_is_followed(make_named, name):
    system = make_named("127.0.0.2", "127.0.0.3", "127.0.0.4")
    system.start()
    system.dispatcher.wait_log("event=broker_name_unknown", 20)
    name.set("127.0.0.2", "127.0.0.3")
    for number in (0, 1):
        wait_until(lambda number=number: system.ready(number), 30, f"broker {number + 1} has a dispatcher")
        system.api_at(number).login(number + 1)
    assert not system.ready(2)
    wait_until(lambda: not lost(system, 0) and not lost(system, 1), 20, "nobody is missed")
    name.set("127.0.0.2", "127.0.0.3", "127.0.0.4")
    wait_until(lambda: system.ready(2), 30, "the third broker has a dispatcher")
    session = system.api_at(2).login(3)
    system.brokers[0].stop()
    wait_until(lambda: lost(system, 1), 20, "the first broker is missed while the name has it")
    name.set("127.0.0.4", "127.0.0.3")
    wait_until(lambda: not lost(system, 1), 30, "it is not missed any more")
    for number in (1, 2):
        system.api_at(number).list(session).expect(200)
    assert system.dispatcher.text().count("event=name_moved") == 2, "another order is not another address"
    name.set()
    system.dispatcher.restart()
    system.dispatcher.wait_log("event=broker_name_unknown", 20)
    name.set("127.0.0.3")
    wait_until(lambda: system.ready(1), 30, "a name that is known late")
    system.api_at(1).list(session).expect(200)
    mark = system.dispatcher.mark()
    name.set("::1", "::2")  # nobody is there; each is tried, and left
    wait_until(lambda: len(lost(system, 1)) == 2, 30, "both are missed")
    name.set("127.0.0.3")
    for address in ("::1", "::2"):
        system.dispatcher.wait_log(rf"{address}\b.*to=left", 30, mark)
    system.api_at(1).list(session).expect(200)


def test_a_broker_with_two_addresses_is_one(make_named, name):
    system = make_named("0.0.0.0")
    name.set("127.0.0.2", "127.0.0.3")
    system.start()
    system.dispatcher.wait_log("event=broker_by_two_addresses", 30)
    wait_until(system.ready, 30, "the broker has a dispatcher")
    mark = system.dispatcher.mark()
    session = system.api.login(1)
    name.set("127.0.0.2", "127.0.0.3", "127.0.0.5")
    system.dispatcher.wait_log("event=broker_by_two_addresses", 30, mark)
    wait_until(lambda: system.api.list(session).status == 200, 20, "lists are answered")
    assert system.dispatcher.text().count("event=broker_by_two_addresses") == 2, "said once for each address"
    wait_until(lambda: not lost(system, 0), 20, "nobody is missed")
