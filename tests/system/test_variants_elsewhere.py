# SPDX-License-Identifier: MIT
"""Variants of what surrounds the processes, made up from the contract and from public bug reports alone: name servers that are silent, late or of
another mind; names with several addresses; a standard error that goes nowhere; clocks that are wrong. Each row names where it happened."""

import datetime
import os
import pty
import subprocess
import termios

import pytest
from harness.http import Api
from harness.ports import free_port
from harness.process import clean_env
from harness.robots import Robot
from harness.system import ROOT, program
from harness.wait import wait_until
from test_loop import codes, full_pipe, write_errors_to
from test_variants import Results

# Names of odd.test are looked up in a file, line by line: NAME, then addresses in order, +MS for a wait, "again" or "none". A name without a line is silent
# until it has one.
NAMES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
static int told(lookup *real, const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    char line[512], *rest, *word;
    FILE *names = fopen(getenv("NAMES"), "r");
    struct addrinfo **end = out, h = {0};
    int rc = -100;
    if (hints)
        h = *hints;
    while (names && rc == -100 && fgets(line, sizeof line, names)) {
        if (strcmp(strtok_r(line, " \\n", &rest), node) != 0)
            continue;
        rc = EAI_NONAME;
        *out = NULL;
        while ((word = strtok_r(NULL, " \\n", &rest))) {
            if (*word == '+')
                usleep(1000 * atoi(word));
            else if (strcmp(word, "again") == 0)
                rc = EAI_AGAIN;
            else if (strcmp(word, "none") != 0 && (h.ai_family == AF_UNSPEC || h.ai_family == (strchr(word, ':') ? AF_INET6 : AF_INET))) {
                struct addrinfo one = {.ai_family = AF_UNSPEC, .ai_socktype = h.ai_socktype, .ai_protocol = h.ai_protocol, .ai_flags = AI_NUMERICHOST};
                if (real(word, service, &one, end) == 0)
                    rc = 0;
                while (*end)
                    end = &(*end)->ai_next;
            }
        }
    }
    if (names)
        fclose(names);
    return rc;
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t n = node ? strlen(node) : 0;
    int rc;
    if (n < 9 || strcmp(node + n - 9, ".odd.test") != 0)
        return real(node, service, hints, out);
    while ((rc = told(real, node, service, hints, out)) == -100)
        usleep(50000);
    return rc;
}
"""
CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at)
{
    int rc = (int)syscall(SYS_clock_gettime, id, at);
    if (rc == 0 && id == CLOCK_REALTIME)
        at->tv_sec += 3600 * atol(getenv("CLOCK_HOURS"));
    return rc;
}
"""
NOBODY = "127.0.0.9"
OPS = "/api/v1/ops"


class Names:
    """The file of names."""

    def __init__(self, path, **names):
        self.path, self.names = path, {}
        self.tell(**names)

    def tell(self, **names):
        self.names.update(names)
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{name}.odd.test {words}\n" for name, words in self.names.items()))
        new.rename(self.path)


def odd_house(make_system, preloaded, tmp_path):
    """Two brokers and five dispatchers whose clocks are hours off, and whose names are looked up in the file."""
    names = Names(tmp_path / "names", r1="127.0.0.1")
    system = make_system(robots=0, ready=False, brokers=2, dispatchers=5, settings={"dispatcher.db_threads": 1, "timeout.connect_ms": 1000})
    robot = system.add_robot("r1", register=False)
    system.ctl("worker", "add", "r1", "--base-url", robot.url.replace("127.0.0.1", "r1.odd.test"))
    libraries = " ".join(preloaded(name, text)["LD_PRELOAD"] for name, text in (("names", NAMES), ("clock", CLOCK)))
    for process, hours in zip(system.processes, (3, -3, 30, -30, 1, 3, -3, 0), strict=True):
        process.env.update({"LD_PRELOAD": libraries, "NAMES": str(names.path), "CLOCK_HOURS": str(hours)})
    return system, names


def connected(system, broker):
    rows = Api(system.ops_url_of(broker), system.token).get(f"{OPS}/dispatchers").expect(200).json["dispatchers"]
    return sorted(row["name"] for row in rows if row["connected"])


@pytest.mark.long(15)
def test_brokers_behind_one_name(make_system, preloaded, tmp_path):
    """A name with several addresses is all of them: libzmq connects to the first one only, and a broker without a dispatcher serves nobody."""
    first, second = "127.0.0.2", "127.0.0.3"
    names = Names(tmp_path / "names", both=f"{first} {second}", dead=f"{NOBODY} {first} {second}", six=f"::1 {second} {first}", grow=first, again="again")
    system = make_system(robots=0, ready=False, brokers=2, dispatchers=6, settings={"dispatcher.db_threads": 1, "log.level": "info"})
    system.add_robot("r1")
    port = free_port(first)
    for n, address in enumerate((first, second)):
        system.endpoints["broker", n]["broker.bind"] = f"tcp://{address}:{port}"
        system.brokers[n] = system.make("broker", n)
    spelled = ["both", "dead", "six", "grow", "again", f"both.odd.test:{port},tcp://{first}"]
    for n, name in enumerate(spelled):
        system.settings["dispatcher.brokers"] = f"tcp://{name if '.' in name else name + '.odd.test'}:{port}"
        system.dispatchers[n] = system.make("dispatcher", n)
    for process in system.processes:
        process.env.update({**preloaded("names", NAMES), "NAMES": str(names.path)})
    system.start()
    results, d = Results(), [process.name for process in system.dispatchers]

    def at_both(name):
        for broker in (0, 1):
            wait_until(lambda: name in connected(system, broker), 40, f"{name} is at broker {broker + 1}")  # noqa: B023
        return "at both"

    results.play("several addresses", "one more later, not yet", lambda: wait_until(lambda: d[3] in connected(system, 0), 40, "at the first"))
    names.tell(grow=f"{first} {second}", again=f"{second} {first}")
    # libzmq's report; dateilager: the first one dead; irssi, yaxim: IPv6 where none is; CoreDNS: a failure at first; Elasticsearch's hosts: named twice.
    for kind, name in (("two addresses", d[0]), ("a dead address beside", d[1]), ("IPv6 first", d[2]), ("a failure at first", d[4]), ("named twice", d[5])):
        results.play("several addresses", kind, at_both, name)

    def served_by_each():
        for n in (0, 1):
            wait_until(lambda: system.api_at(n).execute(10 + n).status == 200, 40, f"broker {n + 1} serves")  # noqa: B023
        return "served"

    def moved_to():  # Kontena, CoreDNS: the second broker comes back at another address
        system.brokers[1].stop()
        system.endpoints["broker", 1]["broker.bind"] = f"tcp://127.0.0.4:{port}"
        system.brokers[1] = system.make("broker", 1).start()
        names.tell(**{name: words.replace(second, "127.0.0.4") for name, words in names.names.items()})
        return at_both(d[0])

    results.play("several addresses", "each broker serves", served_by_each)
    results.play("several addresses", "a broker moved", moved_to)
    results.play("several addresses", "one more later", at_both, d[3])
    results.judge()


@pytest.mark.long(20)
def test_names_standard_errors_and_clocks(make_system, preloaded, tmp_path):
    system, names = odd_house(make_system, preloaded, tmp_path)
    results, d = Results(), system.dispatchers
    # moby: a reader of the log that stands still; agent-orchestrator: one that goes away; rsyslog: descriptor 2 closed and taken by a socket;
    # moby: a console whose output is stopped; ganache: a terminal that hangs up.
    stands = full_pipe(tmp_path / "stands")
    write_errors_to(d[0], tmp_path / "stands")
    os.mkfifo(tmp_path / "leaves")
    leaves = os.open(tmp_path / "leaves", os.O_RDONLY | os.O_NONBLOCK)
    d[1].argv = ["/bin/sh", "-c", 'exec "$@" 2>"$0"', str(tmp_path / "leaves"), *d[1].argv]
    d[2].argv = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *d[2].argv]
    stopped, console = pty.openpty()
    termios.tcflow(console, termios.TCOOFF)
    write_errors_to(d[3], os.ttyname(console))
    hangs_up, terminal = pty.openpty()
    write_errors_to(d[4], os.ttyname(terminal))
    system.start()
    os.close(terminal)
    everybody = [process.name for process in d]
    first, second = system.api_at(0), system.api_at(1)
    system.wait_ready().wait_probed()
    wait_until(lambda: connected(system, 0) == connected(system, 1) == everybody, 30, "all are at both brokers")
    session = first.login(1)

    # --- standard errors

    os.close(leaves)
    os.close(hangs_up)
    for company in range(2, 8):
        first.close(first.login(company)).expect(200)
        second.list(session).expect(200)

    def goes_on(process):
        before = process.cpu_s()
        wait_until(lambda: process.cpu_s() > before and first.list(session).status == 200, 30, f"{process.name} works")
        wait_until(lambda: all(process.name in connected(system, broker) for broker in (0, 1)), 20, f"{process.name} is at both brokers")
        assert process.alive()
        return "goes on"

    for kind, process in zip(("reader stands still", "reader went away", "closed from the start", "console stopped", "terminal hung up"), d, strict=True):
        results.play("standard error", kind, goes_on, process)
    results.play("standard error", "it is said", lambda: wait_until(lambda: "log_blocked" in codes(system), 20, "stats says that a log is not taken"))

    def drained():
        told = b""  # the pipe held 64 KiB of dots

        def more():
            nonlocal told
            try:
                told = told[-4000:] + os.read(stands, 65536)
            except BlockingIOError:
                pass
            return b" event=" in told
        return wait_until(more, 30, "its lines come again")

    results.play("standard error", "reader goes on", drained)  # containerd: stopped for an upgrade
    termios.tcflow(console, termios.TCOON)

    # --- name servers

    def robot(name, host="127.0.0.1", port=None):
        made = system.robots[name] = Robot(system.directory, name, system.portal, host=host, port=port).start()
        system.ctl("worker", "add", name, "--base-url", f"http://{name}.odd.test:{made.port}")
        return made

    def worker(name):
        return next(one for one in system.ops.get(f"{OPS}/workers").expect(200).json["workers"] if one["name"] == name)

    def judged(name, verdict, why=""):
        def look():
            first.list(session, headers={"X-Deadline-Ms": "10000"}).expect(200)
            told = worker(name)
            return told["verdict"] == verdict and why in (told["why"] or "") and (told["verdict"], told["why"])
        return wait_until(look, 40, f"{name} is {verdict} {why}", every=0.1)

    def dozens_silent():  # libuv, node: slow look-ups took all threads of the pool
        system.database.execute("INSERT INTO chasqui_robots (name, base_url, created_at) SELECT CONCAT('silent', seq), CONCAT('http://silent', seq, '.odd.test:9000'), NOW(6) FROM seq_1_to_24")
        system.ctl("worker", "add", "silent25", "--base-url", "http://silent25.odd.test:9000")  # raises the revision
        for n in range(1, 26, 6):
            judged(f"silent{n}", "down", "unresolvable")
        names.tell(late="127.0.0.1")
        robot("late")
        return judged("late", "up")

    def late_answer():  # curl: an answer a second late stopped everything else
        names.tell(slow="+1500 127.0.0.1")
        robot("slow")
        return judged("slow", "up")

    def none_and_there_later():  # Kubernetes: NXDOMAIN while a service is made anew
        names.tell(later="none")
        robot("later")
        judged("later", "down", "unresolvable")
        names.tell(later="127.0.0.1")
        return judged("later", "up")

    def again_and_there_later():  # musl, CoreDNS: SERVFAIL for a while
        names.tell(flaps="again")
        robot("flaps")
        judged("flaps", "down", "unresolvable")
        names.tell(flaps="127.0.0.1")
        return judged("flaps", "up")

    def moved():  # Kontena, CoreDNS: a pod that comes back elsewhere
        names.tell(moves=NOBODY)
        robot("moves", "127.0.0.4", free_port("127.0.0.4"))
        judged("moves", "down")
        names.tell(moves="127.0.0.4")
        return judged("moves", "up")

    def dead_address_first():  # irssi, microsocks: only the first address was tried
        names.tell(twofold="::1 127.0.0.5")
        robot("twofold", "127.0.0.5", free_port("127.0.0.5"))
        return judged("twofold", "up")

    def silent_once_known():
        before = system.robots["r1"].calls("health")
        names.names.pop("r1")
        names.tell()
        system.robots["r1"].wait_call("health", count=len(before) + 10, timeout=30)
        first.list(session).expect(200)
        return judged("r1", "up")

    for row in (late_answer, none_and_there_later, again_and_there_later, moved, dead_address_first, dozens_silent, silent_once_known):
        results.play("name servers", row.__name__, row)
    system.ctl("worker", "remove", "silent25")
    system.database.execute("DELETE FROM chasqui_robots WHERE name LIKE 'silent%%'")
    wait_until(lambda: connected(system, 0) == everybody, 30, "all are still here")

    # --- clocks

    left = "SELECT TIMESTAMPDIFF(SECOND, NOW(6), {})"

    def command(hours, *words):
        env = clean_env({"LD_PRELOAD": preloaded("clock", CLOCK)["LD_PRELOAD"], "CLOCK_HOURS": str(hours)})
        done = subprocess.run([program("chasqui"), "-c", system.conf, *words], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done
        return done.stdout

    def seconds(told, wanted):
        assert wanted - 60 <= told <= wanted, told
        return told

    def paused_for():
        return system.database.value(left.format("until_at") + " FROM chasqui_pause")

    def pause_by_a_wrong_command(hours):  # que-scheduler, flux: due times by the caller's clock
        command(hours, "queue", "pause", "--reason", "x", "--for", "30m")
        told = seconds(paused_for(), 1800)
        command(hours, "queue", "resume")
        return told

    def drain_by_a_wrong_command():
        command(-5, "worker", "drain", "late", "--deadline", "30m")
        told = seconds(system.database.value(left.format("drain_deadline") + " FROM chasqui_robots WHERE name = 'late'"), 1800)
        command(7, "worker", "resume", "late")
        return told

    def until_in_other_words():  # brimdata/super, ExoPlayer, js-joda: offsets and fractions of RFC 3339
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=40)
        lima = end.astimezone(datetime.timezone(datetime.timedelta(hours=-5)))
        told = []
        for broker, text in ((0, end.strftime("%Y-%m-%dT%H:%M:%SZ")), (1, end.strftime("%Y-%m-%dT%H:%M:%S.123Z")), (0, lima.isoformat(timespec="seconds")),
                             (1, lima.isoformat(timespec="microseconds")), (0, end.isoformat(timespec="milliseconds"))):  # fmt: skip
            answer = Api(system.ops_url_of(broker), system.token).post(f"{OPS}/queue/pause", {"reason": "x", "until": text})
            assert answer.status in (200, 422), answer  # taken rightly or refused, never taken wrongly
            told.append((text, answer.status, answer.status == 200 and seconds(paused_for(), 2400)))
        assert told[0][1] == 200
        system.ops.post(f"{OPS}/queue/resume", {}).expect(200)
        return told

    def no_pause_ends_early():  # NServiceBus.SqlServer: delivered before it was due
        system.ops.post(f"{OPS}/queue/pause", {"reason": "x", "for_s": 600}).expect(200)
        job = second.queue(20).expect(202).json["job_id"]
        wait_until(lambda: "pause" in system.ops.get(f"{OPS}/jobs/{job}/why").expect(200).body.decode().lower(), 20, "it waits for the pause")
        marks = [process.cpu_s() for process in d]
        wait_until(lambda: all(process.cpu_s() >= mark + 0.02 for process, mark in zip(d, marks, strict=True)), 60, "each dispatcher has looked")
        assert first.job(job).json["job"]["status"] == "queued"
        system.ops.post(f"{OPS}/queue/resume", {}).expect(200)
        return wait_until(lambda: first.job(job).json["job"]["status"] == "done", 30, "it goes on")

    def a_pause_ends_by_itself():  # DolphinScheduler: a worker whose clock was behind waited on
        system.ops.post(f"{OPS}/queue/pause", {"reason": "x", "for_s": 1}).expect(200)
        job = first.queue(21).expect(202).json["job_id"]
        return wait_until(lambda: first.job(job).json["job"]["status"] == "done", 30, "it goes on without a resume")

    def a_token_by_a_wrong_command():  # db-scheduler: heartbeats and ends by another clock than the judge's
        told = command(-9, "token", "create", "--company", "*", "--ability", "ops:read", "--expires", "1h")
        token = next(word for word in reversed(told.split()) if "|" in word)
        for broker in (0, 1):
            Api(system.ops_url_of(broker), token).get(f"{OPS}/queue").expect(200)
        return seconds(system.database.value(left.format("expires_at") + " FROM chasqui_tokens WHERE id = %s", token.partition("|")[0]), 3600)

    results.play("clocks", "pause --for by a command 4 h ahead", pause_by_a_wrong_command, 4)
    results.play("clocks", "pause --for by a command 4 h behind", pause_by_a_wrong_command, -4)
    for row in (drain_by_a_wrong_command, until_in_other_words, no_pause_ends_early, a_pause_ends_by_itself, a_token_by_a_wrong_command):
        results.play("clocks", row.__name__, row)
    for one in (stands, stopped, console):
        os.close(one)
    results.judge()


def check(got, wanted):
    assert got == wanted, (got, wanted)
    return got
