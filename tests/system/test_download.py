# SPDX-License-Identifier: MIT
"""Downloads: any size, streamed with flat memory, held back by the slowest client, cut when they break."""

import hashlib
import threading
from urllib.parse import unquote

import pytest

from harness import content
from harness.http import address, connect
from harness.process import SANITIZER_ENV
from harness.wait import stays, wait_until

GIB = 1 << 30
GROWTH_KIB = 16 << 10
ASAN_WITHOUT_QUARANTINE = f"{SANITIZER_ENV['ASAN_OPTIONS']}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"


def get(system, company=1, size=1000, name="file.bin", **more):
    """Logs in and downloads a file of that size; answers (answer, token)."""
    active = system.api.active(company)
    session = active.json["session_id"] if active.status == 200 else system.api.login(company)
    token = system.robot_of(session).add_file(company, name, size, **more)
    return system.api.download(session, token), token


def raw_download(system, session, token):
    """A download whose bytes are read by the test: (socket, bytes of the head, first bytes of the body)."""
    wire = connect(system.api_url())
    wire.sendall(
        f"GET /api/v1/app/buzon/download?session_id={session}&file_token={token} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {system.token}\r\n\r\n".encode()
    )
    got = b""
    while b"\r\n\r\n" not in got:
        got += wire.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    return wire, head, body


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1_048_576, 1_048_577, 9_999_999])
def test_every_byte_arrives(system, size):
    answer, token = get(system, size=size, content_type="application/pdf")
    answer.expect(200)
    assert answer.body == content.whole(token, size)
    assert answer.headers["Content-Length"] == str(size)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "no-store" in answer.headers["Cache-Control"]


def test_a_file_of_the_mailbox(system):
    session = system.api.login(2)
    item = system.api.list(session).expect(200).json["items"][3]
    answer = system.api.download(session, item["file_token"]).expect(200)
    assert answer.body == content.whole(item["file_token"], item["size"])
    sent = system.robot.calls("file")[-1]
    assert sent["path"] == "/files/" + item["file_token"] and sent["query"] == {"session_id": session}


@pytest.mark.parametrize(
    "disposition, name",
    [
        ("attachment; filename=\"plain.pdf\"", "plain.pdf"),
        ("attachment; filename=\"x\"; filename*=UTF-8''constancia%20%C3%B1.pdf", "constancia ñ.pdf"),
        ('attachment; filename="../../../etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''..%2F..%2Fa%0d%0aSet-Cookie:%20x.pdf", "aSet-Cookie: x.pdf"),
        ('inline; filename="C:\\\\dir\\\\a.exe"', "a.exe"),
        ('attachment; filename="a\\"; filename=b"', None),
        ("nonsense", "download"),
        ("attachment; filename=" + "n" * 3000, None),
    ],
)
def test_the_file_name_is_rebuilt(system, disposition, name):
    answer, _ = get(system, disposition=disposition)
    told = answer.expect(200).headers["Content-Disposition"]
    assert told.startswith("attachment; filename=") and "\n" not in told and "/" not in told.replace("UTF-8''", "")
    assert "Set-Cookie" not in answer.headers and len(told) < 2500
    if name:
        _, _, extended = told.partition("filename*=UTF-8''")
        plain = told.partition('filename="')[2].partition('"')[0]
        assert (unquote(extended) if extended else plain) == name


def test_a_type_that_is_none_becomes_octet_stream(system):
    answer, _ = get(system, content_type="nonsense")
    assert answer.expect(200).headers["Content-Type"] == "application/octet-stream"


def test_no_such_file_and_the_session_stays(system):
    session = system.api.login(3)
    other = system.robot.add_file(4, "of another company", 10)
    for token in ("nosuchfile", other):
        system.api.download(session, token).expect(404, "file_not_found")
    system.api.list(session).expect(200)


def test_tricks_in_the_token_do_not_reach_the_robot(system):
    session = system.api.login(5)
    for token in ("..", ".", "../health", "a/b", "a\\b", "%2e%2e", "a?b", "a#b", "a%2fb", "", "x" * 513, "a\x01b", "ñ\u0000"):
        answer = system.api.download(session, token)
        assert answer.status in (400, 422), (token, answer)
    assert system.robot.calls("file") == []
    strange = "a&b=c+d~'()*,;:@$!"
    system.api.download(session, strange).expect(404, "file_not_found")
    assert system.robot.calls("file")[-1]["path"] == "/files/" + strange


@pytest.mark.parametrize(
    "mode, status, error, more",
    [
        ("reset", 502, "robot_unreachable", {}),
        ("close_before_answer", 502, "robot_unreachable", {}),
        ("garbage", 502, "robot_bad_response", {}),
        ("redirect", 502, "robot_error", {"location": "http://127.0.0.1:1/"}),
        ("status", 502, "robot_error", {"status": 500}),
        ("status", 502, "robot_error", {"status": 403}),
        ("status", 404, "file_not_found", {"status": 404}),
        ("status", 502, "robot_bad_response", {"status": 204, "body": ""}),
        ("hang", 504, "deadline_exceeded", {}),
    ],
)
def test_a_robot_that_misbehaves_before_the_first_byte(make_system, mode, status, error, more):
    system = make_system(settings={"timeout.download_first_byte_ms": 4000})
    session = system.api.login(6)
    system.robot.behave("file", mode, **more)
    system.api.download(session, "token").expect(status, error)
    system.robot.behave_well()
    answer, token = get(system, 6)
    assert answer.expect(200).body == content.whole(token, 1000)


@pytest.mark.parametrize("bytes_sent", [1, 300_000, 4_999_999])
def test_a_transfer_that_breaks_is_cut_short(system, bytes_sent):
    session = system.api.login(7)
    token = system.robot.add_file(7, "cut", 5_000_000)
    system.robot.behave("file", "cut", bytes=bytes_sent)
    wire, head, got = raw_download(system, session, token)
    assert b"Content-Length: 5000000" in head or b"content-length: 5000000" in head.lower()
    while part := read(wire):
        got += part
    assert len(got) <= bytes_sent and got == content.whole(token, 5_000_000)[: len(got)]
    wait_until(lambda: system.metric("chasqui_streams_broken_total") == 1, 5)


def read(wire):
    try:
        return wire.recv(1 << 16)
    except ConnectionError:
        return b""


def test_an_endless_answer_without_length_that_is_cut(system):
    """Chunked at the robot, chunked to the client: no last chunk, so the client knows."""
    session = system.api.login(8)
    system.robot.behave("file", "endless")
    wire, head, got = raw_download(system, session, "any")
    while len(got) < 3_000_000:
        got += wire.recv(65536)
    assert b"transfer-encoding: chunked" in head.lower()
    system.robot.kill9()
    while part := read(wire):
        got += part
    assert not got.endswith(b"0\r\n\r\n")
    system.check_doctor = False


def test_a_robot_that_stops_in_the_middle(make_system):
    system = make_system(settings={"timeout.download_idle_ms": 4000})
    session = system.api.login(9)
    token = system.robot.add_file(9, "stalls", 1_000_000)
    system.robot.behave("file", "drip", bytes_per_s=200_000)
    wire, _, got = raw_download(system, session, token)
    while len(got) < 100_000 and (part := wire.recv(65536)):
        got += part
    system.robot.pause()
    while part := read(wire):
        got += part
    assert len(got) < 1_000_000
    system.robot.resume()


def test_a_slow_robot_is_waited_for(make_system):
    system = make_system(settings={"timeout.download_idle_ms": 4000, "timeout.download_first_byte_ms": 4000})
    session = system.api.login(10)
    token = system.robot.add_file(10, "drips", 240_000)
    system.robot.behave("file", "drip", bytes_per_s=40_000)
    answer = system.api.download(session, token, headers={"X-Deadline-Ms": "4500"}).expect(200)
    assert answer.body == content.whole(token, 240_000)  # 6 s: the deadline ends at the first byte


def test_the_slowest_client_holds_back_the_robot(make_system):
    """Without anybody reading, the robot is held back; its limits do not count while it is."""
    system = make_system(settings={"timeout.download_idle_ms": 3000})
    session = system.api.login(11)
    size = 200 << 20
    token = system.robot.add_file(11, "slow", size)
    wire, _, got = raw_download(system, session, token)

    def sent():
        return system.robot.transfers()["bytes_sent"]

    def settled(last=[0]):
        before, last[0] = last[0], sent()
        return before == last[0]

    wait_until(lambda: stays(settled, 3.5, every=0.3) or True, 20, "the robot is held back, for longer than it may stall by itself")
    assert sent() < 64 << 20
    stays(settled, 1, "and stays so", every=0.3)
    checked, at = hashlib.sha256(got), len(got)
    while at < size:
        part = wire.recv(1 << 20)
        assert part, f"cut at {at}"
        checked.update(part)
        at += len(part)
    whole = hashlib.sha256()
    for block in content.chunks(token, size):
        whole.update(block)
    assert checked.digest() == whole.digest()
    wire.close()


def test_a_client_that_leaves_stops_the_robot(system):
    session = system.api.login(12)
    token = system.robot.add_file(12, "left", GIB)
    wire, _, got = raw_download(system, session, token)
    while len(got) < 2 << 20:
        got += wire.recv(65536)
    assert system.robot.transfers()["active"] == 1
    wire.close()
    wait_until(lambda: system.robot.transfers()["active"] == 0, 5, "the robot's transfer stopped")
    assert system.robot.transfers()["bytes_sent"] < 200 << 20
    wait_until(lambda: system.metric("chasqui_requests_in_flight") <= 1, 5)


def test_a_dispatcher_that_dies_in_the_middle_cuts_the_transfer(make_system):
    system = make_system(dispatchers=1)
    session = system.api.login(13)
    token = system.robot.add_file(13, "cut off", GIB)
    wire, _, got = raw_download(system, session, token)
    while len(got) < 2 << 20:
        got += wire.recv(65536)
    system.dispatcher.kill9()
    at = len(got)
    while part := read(wire):
        at += len(part)
    assert at < GIB
    system.dispatcher.start()
    system.wait_ready()


def test_downloads_at_once_are_each_their_own(make_system):
    system = make_system(robots=2)
    files = []
    for company in range(20, 28):
        session = system.api.login(company)
        token = system.robot_of(session).add_file(company, "mine", 3_000_000 + company)
        files.append((session, token, 3_000_000 + company))
    wrong = []

    def check(session, token, size):
        answer = system.api.download(session, token)
        if answer.status != 200 or answer.body != content.whole(token, size):
            wrong.append((answer.status, len(answer.body), size))

    threads = [threading.Thread(target=check, args=file) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_activity_while_it_streams(make_system):
    """A download longer than the idle timeout keeps its session alive."""
    system = make_system(settings={"session.idle_timeout_s": 3})
    session = system.api.login(14)
    token = system.robot.add_file(14, "long", 800_000)
    system.robot.behave("file", "drip", bytes_per_s=100_000)
    system.api.download(session, token).expect(200)
    system.robot.behave_well()
    system.api.list(session).expect(200)


def test_one_gibibyte_with_flat_memory(make_system, monkeypatch):
    """No process grows by more than 16 MiB."""
    monkeypatch.setenv("ASAN_OPTIONS", ASAN_WITHOUT_QUARANTINE)  # it keeps freed memory for a while
    system = make_system()
    answer, _ = get(system, 15, 20 << 20)
    answer.expect(200)
    session = system.api.active(15).json["session_id"]
    token = system.robot.add_file(15, "big", GIB)
    system.robot.wait_call("health")
    processes = [*system.processes, system.robot]
    before = {process.name: process.peak_kib() for process in processes}
    wire, _, first = raw_download(system, session, token)
    at = len(first)
    buffer = bytearray(1 << 20)
    while at < GIB:
        n = wire.recv_into(buffer)
        assert n, f"cut at {at}"
        at += n
    assert at == GIB and address(system.api_url())
    wire.close()
    grown = {process.name: process.peak_kib() - before[process.name] for process in system.processes}
    assert all(kib < GROWTH_KIB for kib in grown.values()), grown


def test_many_slow_clients_share_the_memory_and_go_on(make_system):
    """The windows of slow clients stay within what is set, and nobody waits for another's part."""
    budget, size, count = 1 << 20, 8 << 20, 24
    system = make_system(settings={"broker.stream_memory_bytes": budget, "dispatcher.stream_memory_bytes": budget})
    session = system.api.login(31)
    token = system.robot.add_file(31, "slow", size)
    slow = [raw_download(system, session, token) for _ in range(count)]  # more than their sockets hold

    def held():
        """By process; a dispatcher tells it with its next PING."""
        told = system.metrics()
        return [value for name, value in told.items() if name.startswith("chasqui_stream_memory_bytes{")]

    wait_until(lambda: len(held()) == 2 and min(held()) > budget / 4, 5, "both hold what the slow ones have not read")
    assert max(held()) <= budget + count * 65536
    wait_until(lambda: system.metric("chasqui_streams_small_total") > 0, 5, "small windows are counted")
    assert system.api.download(session, token).expect(200).body == content.whole(token, size), "a quick one passes them"
    assert rest(*slow[0], size) == content.whole(token, size), "a slow one that reads again goes on"
    for wire, _, _ in slow:
        wire.close()
    wait_until(lambda: system.metric("chasqui_stream_memory_bytes") == 0, 10, "all of it is given back")


def rest(wire, _, got, size):
    parts = [got]
    while sum(map(len, parts)) < size and (part := wire.recv(1 << 20)):
        parts.append(part)
    return b"".join(parts)
