# SPDX-License-Identifier: MIT
"""Nothing outside stops an event loop: silent name servers, a standard error that nobody reads, a full disk under the log, a
supervisor that does not listen. A client lists on a healthy robot meanwhile and is answered as ever.
"""

import os
import socket
import threading
import time

import pytest

from harness.wait import PATIENCE, wait_until

SILENT_S = 8  # how long a silent name server keeps who asks it
MORE_S = 1.0 * PATIENCE  # than without: the promise is 0.3, on a machine with time
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
static int ends(const char *s, const char *end)
{
    return s && strlen(s) > strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    if (ends(node, ".silent.test")) {
        sleep(%d);
        return EAI_AGAIN;
    }
    return real(ends(node, ".well.test") ? "127.0.0.1" : node, service, hints, out);
}
""" % SILENT_S


@pytest.fixture
def name_servers(preloaded):
    """A library to preload: names in well.test are 127.0.0.1, the server of silent.test is silent."""
    return preloaded("names", SHIM)


def full_pipe(path):
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(end, b"." * 4096)
    except BlockingIOError:
        return end


def write_errors_to(process, where):
    process.argv = ["/bin/sh", "-c", 'exec "$@" 2<>"$0"', str(where), *process.argv]


def worst_of_lists(api, session, seconds):
    """A list every 200 ms; the slowest answer."""
    worst, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        api.list(session).expect(200)
        took = time.monotonic() - began
        worst = max(worst, took)
        time.sleep(max(0, 0.2 - took))
    return worst


def codes(system):
    return {word["code"] for word in system.ops.get("/api/v1/ops/stats").expect(200).json["words"]}


def test_lists_go_on_whatever_stands_still_outside(make_system, name_servers, tmp_path):
    system = make_system(robots=0, ready=False, settings={
        "webhook.allow": "http://hook1.silent.test/,http://hook2.silent.test/,http://hook3.silent.test/",
    })  # fmt: skip
    robot = system.add_robot("r1", register=False)
    system.ctl("worker", "add", "r1", "--base-url", robot.url.replace("127.0.0.1", "r1.well.test"))
    named = system.settings["dispatcher.brokers"].replace("127.0.0.1", "broker.well.test")
    system.settings["dispatcher.brokers"] = named
    system.settings["health.endpoints"] = system.settings["health.endpoints"].replace("127.0.0.1", "healthd.well.test")
    system.settings["health.control"] = system.settings["health.control"].replace("127.0.0.1", "healthd.well.test")
    system.dispatchers[0] = system.make("dispatcher", 0)
    for process in system.processes:
        process.env.update(name_servers)
    system.start().wait_ready().wait_probed()
    api = system.api
    session = api.login(1)
    usual = worst_of_lists(api, session, 2)

    system.dispatcher.stop()
    pipe = full_pipe(tmp_path / "pipe")
    system.settings["dispatcher.brokers"] = named + ",tcp://broker2.silent.test:5570"
    system.settings["health.endpoints"] += ",tcp://healthd2.silent.test:5571"
    system.dispatchers[0] = system.make("dispatcher", 0)
    system.dispatcher.env.update(name_servers)
    write_errors_to(system.dispatcher, tmp_path / "pipe")
    for process in (system.broker, system.healthd):
        process.stop()
        write_errors_to(process, "/dev/full")
    for n in range(2, 5):
        system.ctl("worker", "add", f"r{n}", "--base-url", f"http://r{n}.silent.test:9000")
    system.start().wait_ready().wait_probed()
    for n in range(1, 4):
        api.batch([1], callback_url=f"http://hook{n}.silent.test/").expect(202)
    for n in range(2, 5):  # sessions of Laravel's, on robots whose names nobody knows
        system.database.execute(
            "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, "
            "updated_at) VALUES (%s, %s, 'sunat', 'sunat.menu_sol_login', 'done', %s, %s, NOW(), NOW())",
            f"LARAVEL{n}-1700000000", 100 + n, f"http://r{n}.silent.test:9000", f"laravel-{n}")  # fmt: skip
    asking = [threading.Thread(target=lambda n=n: api.list(f"laravel-{n}")) for n in range(2, 5) for _ in range(2)]
    for one in asking:
        one.start()
    worst = worst_of_lists(api, session, SILENT_S + 2)
    for one in asking:
        one.join()
    assert worst < usual + MORE_S, f"{worst:.3f} s, {usual:.3f} s without"
    stalls = {name: value for name, value in system.metrics().items() if name.startswith("chasqui_loop_stall_seconds{")}
    assert len(stalls) == 3 and all(0 < value < MORE_S for value in stalls.values()), stalls
    wait_until(lambda: "log_blocked" in codes(system), 10, "stats says that a log is not taken")
    assert system.metric("chasqui_log_lines_dropped_total") > 0

    began = time.monotonic()
    system.dispatcher.stop()
    assert time.monotonic() - began < SILENT_S - 2, "the end waits for a name server"
    told = b""
    while b"event=stopped" not in told:  # the pipe held 64 KiB of dots, what the dispatcher said came behind them
        try:
            told += os.read(pipe, 65536).lstrip(b".")
        except BlockingIOError:
            break
    os.close(pipe)


# --- systemd -----------------------------------------------------------------------------------------------------


def listener(path, room=None):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.settimeout(10)
    return made


def told(sock, wanted):
    """What came up to the word that is waited for."""
    words = []
    while wanted not in words:
        words.append(sock.recv(4096).decode())
    return words


def test_systemd_hears_ready_watchdog_and_stopping(make_system, tmp_path):
    system = make_system(ready=False)
    sockets = {}
    for process in system.processes:
        sockets[process] = listener(tmp_path / f"{process.name}.notify")
        process.env.update({"NOTIFY_SOCKET": str(tmp_path / f"{process.name}.notify"), "WATCHDOG_USEC": "400000"})
    system.start().wait_ready().wait_probed()
    for sock in sockets.values():
        assert told(sock, "READY=1")[0] == "READY=1"
        assert told(sock, "WATCHDOG=1") == ["WATCHDOG=1"]
    session = system.api.login(1)
    time.sleep(1)  # a supervisor that reads nothing: the queue of its socket holds ten words
    for _ in range(10):
        system.api.list(session).expect(200)
        time.sleep(0.2)
    assert max(value for name, value in system.metrics().items() if name.startswith("chasqui_loop_stall_seconds{")) < MORE_S
    for sock in sockets.values():
        for _ in range(20):  # what came meanwhile
            told(sock, "WATCHDOG=1")
    ends = [threading.Thread(target=process.stop) for process in sockets]
    for end in ends:
        end.start()
    for sock in sockets.values():
        assert "STOPPING=1" in told(sock, "STOPPING=1")
    for end in ends:
        end.join()


def test_a_loop_that_stands_still_feeds_no_watchdog(make_system, tmp_path):
    system = make_system(ready=False, robots=0)
    sock = listener(tmp_path / "notify")
    system.healthd.env.update({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
    system.healthd.start()
    told(sock, "WATCHDOG=1")
    system.healthd.pause()
    sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(30):
            sock.recv(4096)
    system.healthd.resume()
    sock.settimeout(10)
    told(sock, "WATCHDOG=1")


# --- clocks that jump --------------------------------------------------------------------------------------------

JUMP = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static const volatile long *off;
int clock_gettime(clockid_t id, struct timespec *at)
{
    int rc = (int)syscall(SYS_clock_gettime, id, at);
    if (!off)
        off = mmap(NULL, sizeof *off, PROT_READ, MAP_SHARED, open(getenv("CLOCK_OFF"), O_RDONLY), 0);
    if (rc == 0 && id == CLOCK_REALTIME)
        at->tv_sec += *off;
    return rc;
}
"""


def test_a_clock_that_jumps_under_load_harms_nothing(make_system, preloaded, tmp_path):
    """Six hours forward and back, in each process, while lists and log-ins go on: only timestamps notice."""
    library = preloaded("clock", JUMP)
    system = make_system(ready=False, dispatchers=2, capacity=60, settings={"session.idle_timeout_s": 300})
    clocks = {}
    for process in system.processes:
        clocks[process] = tmp_path / f"{process.name}.clock"
        clocks[process].write_bytes((0).to_bytes(8, "little", signed=True))
        process.env.update({**library, "CLOCK_OFF": str(clocks[process])})
    system.start().wait_ready().wait_probed()
    session = system.api.login(1)
    limited = system.api_for(1, "app", 600)
    answers, company, ended = [], [100], threading.Event()

    def lists():
        while not ended.is_set():
            answers.append(system.api.list(session).status)
            time.sleep(0.05)

    working = threading.Thread(target=lists)
    working.start()
    for process, clock in clocks.items():
        for hours in (6, -6, 0):
            company[0] += 3
            batch = system.api.batch([company[0], company[0] + 1]).expect(202).json["batch_id"]
            with clock.open("r+b") as jumps:  # never shorter than what the process has mapped
                jumps.write((hours * 3600).to_bytes(8, "little", signed=True))
            system.api.login(company[0] + 2)
            answer = limited.list(session).expect(200)
            assert int(answer.headers["X-RateLimit-Remaining"]) > 500
            wait_until(lambda batch=batch: system.api.get(f"/api/v1/app/batches/{batch}").json["batch"]["counts"]["done"] == 2, 20,
                       f"the batch is done, {process.name} at {hours} h")  # fmt: skip
    ended.set()
    working.join()
    assert set(answers) == {200} and len(answers) > 5
    assert system.metric("chasqui_leases_lost_total") == 0 and system.metric("chasqui_sessions_expired_total") == 0
    assert system.metric("chasqui_sessions_lost_total") == 0
    wait_until(lambda: [robot["verdict"] for robot in system.ops.get("/api/v1/ops/stats").expect(200).json["robots"]] == ["up"], 10, "the robot is up")
    assert system.api.session(session).expect(200).json["state"] == "active"
