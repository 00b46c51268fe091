# SPDX-License-Identifier: MIT
"""What is taken at the doors: methods, targets, types and bodies as other people's programs send them."""

import json
import socket

import pytest

from broker_alone import ECHO, EXECUTE, LOGIN, SECRET, LoneBroker, broker, dispatcher, make_broker, make_dispatcher, says  # noqa: F401
from harness.http import Api, Client, connect, raw
from harness.ports import free_port
from harness.wait import wait_until

ORIGIN = "https://app.example.com"
BATCH = {"portal": "sunat", "action": "sunat.menu_sol_login", "items": [{"company_id": "7", "params": []}, {"company_id": 8}]}


def headers_of(url, method, path, **headers):
    """The head of an answer, and what came behind it."""
    with connect(url) as wire:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *(f"{name}: {value}" for name, value in headers.items())]
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        got = b""
        while piece := wire.recv(65536):
            got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in rest}, body


def test_head_is_get_without_a_body(broker, dispatcher):
    token = {"Authorization": f"Bearer {SECRET}"}
    dispatcher.on["BUZON_LIST"] = says(b'{"items":[]}')
    dispatcher.on["BUZON_DOWNLOAD"] = lambda me, header, _: me.send("REPLY_HEAD", id=header["id"], status=200, content_type="application/pdf", length=5)
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        status, headers, body = headers_of(broker.ops_url, "HEAD", path)
        assert status == 200 and body == b"" and int(headers["content-length"]) > 0, path
    for url, path, status in ((broker.url, "/api/v1/app/buzon/list?session_id=s", 200), (broker.url, "/api/v1/app/buzon/list", 422),
                              (broker.url, "/nothing", 404), (broker.ops_url, "/api/v1/ops/stats?history=0", 200)):  # fmt: skip
        got, headers, body = headers_of(url, "HEAD", path, **token)
        assert got == status and body == b"" and int(headers["content-length"]) > 0, path
    got, headers, body = headers_of(broker.url, "HEAD", "/api/v1/app/buzon/download?session_id=s&file_token=f", **token)
    assert (got, body, headers["content-type"]) == (200, b"", "application/pdf")
    got, headers, body = headers_of(broker.ops_url, "HEAD", "/api/v1/ops/events", **token)
    assert (got, body, headers["content-type"]) == (200, b"", "text/event-stream; charset=utf-8")
    assert headers_of(broker.url, "HEAD", "/api/v1/app/buzon/list?session_id=s")[0] == 401
    assert headers_of(broker.url, "HEAD", EXECUTE)[:1] == (405,)
    with connect(broker.url) as wire:  # the connection goes on behind it
        request = f"/api/v1/app/buzon/list?session_id=s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
        wire.sendall(f"HEAD {request}GET {request}".encode())
        got = b""
        while b'{"items":[]}' not in got:
            got += wire.recv(65536)
        assert got.count(b"HTTP/1.1 200") == 2 and got.count(b'{"items":[]}') == 1


def test_options_and_other_origins(make_broker, make_dispatcher):
    alone = make_broker({"broker.cors_origins": f"https://other.example.com, {ORIGIN}"})
    make_dispatcher(alone).on["BUZON_LIST"] = says(b'{"items":[]}')
    status, headers, body = headers_of(alone.url, "OPTIONS", "/api/v1/app/sessions/s")
    assert (status, body, headers["allow"]) == (204, b"", "GET, HEAD, DELETE, OPTIONS")
    assert headers_of(alone.ops_url, "OPTIONS", "/readyz")[1]["allow"] == "GET, HEAD, OPTIONS"
    assert headers_of(alone.url, "OPTIONS", "/nothing")[0] == 404
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}
    status, headers, body = headers_of(alone.url, "OPTIONS", EXECUTE, Origin=ORIGIN, **asks)
    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (204, ORIGIN, "Origin")
    assert "POST" in headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "idempotency-key"} <= set(headers["access-control-allow-headers"].lower().split(", "))
    assert "access-control-allow-credentials" not in headers
    for bad in ("https://evil.example.com", ORIGIN + ".evil.org", ORIGIN + ":444", "http://app.example.com", "null", "*"):
        status, headers, _ = headers_of(alone.url, "OPTIONS", EXECUTE, Origin=bad, **asks)
        assert status == 204 and not [name for name in headers if name.startswith("access-control")], bad
        answer = Api(alone.url, SECRET).list("s", headers={"Origin": bad}).expect(200)
        assert "Access-Control-Allow-Origin" not in answer.headers
    for call, status in ((Api(alone.url, SECRET), 200), (Client(alone.url), 401)):  # errors can be read, too
        answer = call.get("/api/v1/app/buzon/list?session_id=s", headers={"Origin": ORIGIN}).expect(status)
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN and "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert "Vary" not in Client(make_broker().ops_url).get("/healthz", headers={"Origin": ORIGIN}).headers


@pytest.mark.parametrize("origins", ["https://app.example.com/", "app.example.com", "https://a.example https://b.example"])
def test_a_bad_origin_stops_the_start(tmp_path, origins):
    alone = LoneBroker(tmp_path / "b", {"broker.cors_origins": origins})
    alone.start()
    alone.expect_death()
    assert alone.popen.wait(20) == 1 and "broker.cors_origins" in alone.text()


def test_targets_in_absolute_form(broker, dispatcher):
    dispatcher.on["BUZON_LIST"] = says(b'{"items":[]}')
    token = f"Authorization: Bearer {SECRET}\r\n"
    for target in ("http://x/api/v1/app/buzon/list?session_id=s", "HTTP://api.example.com:8080/api/v1/app/buzon/list?session_id=s",
                   "https://[::1]/api/v1/app/buzon/list?session_id=s"):  # fmt: skip
        got = raw(broker.url, f"GET {target} HTTP/1.1\r\nHost: x\r\n{token}Connection: close\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 200") and b'{"items":[]}' in got, target
    for target, status in (("http://x", 200), ("http://x?a=b", 200), ("http://x/healthz", 200), ("http://x/nothing", 404), ("http://x//healthz", 404)):
        got = raw(broker.ops_url, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 %d" % status), (target, got)


@pytest.mark.parametrize("kind", [
    "application/json", "Application/JSON;charset=utf-8", "application/json; charset=UTF8", 'application/json; charset="Utf-8"',
    "application/json; charset=utf8; profile=x", "application/json ;odata=verbose",
])  # fmt: skip
def test_types_that_mean_json(broker, dispatcher, kind):
    dispatcher.on["EXECUTE_LOGIN"] = says(b'{"ok":true}')
    body = b"\xef\xbb\xbf" + json.dumps({**LOGIN, "company_id": "0007", "params": []}).encode()
    broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": kind}).expect(200)
    _, request, payload = dispatcher.saw("EXECUTE_LOGIN")[-1]
    assert request["company_id"] == 7 and payload in (b"", b"{}")


def test_other_charsets_and_types_are_refused(broker, dispatcher):
    body = json.dumps(LOGIN).encode()
    for kind in ("application/json; charset=latin1", "application/json; charset=utf-16", "text/json", "application/jsonl", "application/problem+json"):
        broker.api.request("POST", EXECUTE, body=body, headers={"Content-Type": kind}).expect(415, "unsupported_media_type")


def test_params_that_php_writes(broker, dispatcher):
    dispatcher.on["EXECUTE_ACTION"] = says(b'{"ok":true}')
    broker.api.post(EXECUTE, {**ECHO, "params": []}).expect(200)
    broker.api.post(EXECUTE, {**ECHO, "params": {}}).expect(200)
    first, second = [payload for _, _, payload in dispatcher.saw("EXECUTE_ACTION")]
    assert first in (b"", second)


def test_a_batch_with_a_byte_order_mark(broker, dispatcher):
    bodies = []
    dispatcher.on["BATCH_OPEN"] = says(b'{"batch_id":5,"status":"open"}')
    dispatcher.on["BATCH_BODY"] = lambda me, header, payload: (bodies.append(payload), me.reply(header, b'{"accepted":2,"rejected_total":0,"rejected":[]}'))
    dispatcher.on["BATCH_CLOSE"] = says(b'{"status":"running"}')
    path = "/api/v1/app/batches"
    broker.api.request("POST", path, body=b"\xef\xbb\xbf" + json.dumps(BATCH).encode(), headers={"Content-Type": "application/json"}).expect(202)
    lines = b'\xef\xbb\xbf{"company_id":"7"}\r\n{"company_id":8}\r\n'
    for kind in ("application/x-ndjson", "application/ndjson", "application/jsonl; charset=utf8"):
        query = path + "?portal=sunat&action=sunat.menu_sol_login"
        broker.api.request("POST", query, body=lines, headers={"Content-Type": kind}).expect(202)
    assert all(body.startswith(b'{"company_id":"7"') for body in bodies) and len(bodies) == 4


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_both_families_are_listened_on(make_broker):
    for where in ("localhost", "*", "[::]", ""):
        ports = free_port(), free_port()
        alone = make_broker({"broker.http": f"{where}:{ports[0]}", "broker.ops": f"{where}:{ports[1]}"})
        for host in ("127.0.0.1", "[::1]"):
            Client(f"http://{host}:{ports[1]}").get("/healthz").expect(200)
            Client(f"http://{host}:{ports[0]}").get("/nothing").expect(404)
        alone.url, alone.ops_url = f"http://[::1]:{ports[0]}", f"http://[::1]:{ports[1]}"
        wait_until(lambda: alone.stat("http_connections") <= 2, 5)
    alone = make_broker({"broker.http": f"127.0.0.1:{free_port()}"})  # one address is one address
    with pytest.raises(OSError):
        connect(alone.url.replace("127.0.0.1", "[::1]"))


def test_an_address_in_use_stops_the_start(make_broker, tmp_path):
    first = make_broker()
    second = LoneBroker(tmp_path / "second", {"broker.http": first.settings["broker.http"].replace("127.0.0.1", "localhost")})
    second.start()
    second.expect_death()
    assert second.popen.wait(20) == 1 and "event=listen_failed" in second.text()
