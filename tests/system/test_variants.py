# SPDX-License-Identifier: MIT
"""Variants of what other people's robots, files, clients and databases do, made up from the contract and from public bug reports alone."""

import json
import time
from urllib.parse import unquote

import pytest
from ctl_desk import Ctl
from harness.http import raw
from harness.listener import Listener
from harness.wait import wait_until
from test_ctl_files import submitted

LOGIN = {"ruc": "1", "usuario": "DEMO", "clave": "demo"}


class Results:
    """What became of each variant; fails at the end with all that broke."""

    def __init__(self):
        self.rows = []

    def play(self, kind, name, fn, *args):
        begun = time.time()
        try:
            said = fn(*args)
            self.rows.append((kind, name, "ok", said))
        except Exception as why:  # noqa: BLE001 - one more that broke
            self.rows.append((kind, name, "BROKE", repr(why)[:600]))
        print("VARIANT", *self.rows[-1], round(time.time() - begun, 1), sep=" | ", flush=True)

    def judge(self):
        broke = [row for row in self.rows if row[2] != "ok"]
        assert not broke, broke


class OddRobot(Listener):
    """A robot whose answers are bytes. `answers` maps the beginning of "METHOD /path" to bytes, or to a function of the request's body."""

    def __init__(self):
        self.answers, self.n, self.open = {}, 0, {}
        super().__init__()

    def serve(self, client):
        with client:
            file = client.makefile("rb")
            try:
                while line := file.readline():
                    length = 0
                    while (header := file.readline().strip()):
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    body = file.read(length)
                    method, target = line.decode().split(" ")[:2]
                    told = self.answer(f"{method} {target}", body)
                    client.sendall(told)
                    if b"HTTP/1.0" in told[:9] or b"connection: close" in told.lower():
                        return
            except OSError:
                return

    def answer(self, what, body):
        for begins, told in self.answers.items():
            if what.startswith(begins):
                return told(body) if callable(told) else told
        if what.startswith("GET /health"):
            return ok({"ok": True, "sessions": len(self.open), "capacity": 100})
        if what.startswith("POST /sunat/login"):
            return ok(self.session(body))
        if what.startswith("DELETE /sessions/"):
            self.open.pop(unquote(what.rpartition("/")[2]), None)
            return ok({"ok": True})
        if what.startswith("GET /sessions"):
            return ok({"sessions": list(self.open.values())})
        return ok({"ok": True, "items": []})

    def session(self, body, session_id=None):
        told = json.loads(body)
        self.n += 1
        session_id = session_id or f"odd-{self.n}"
        self.open[session_id] = {"session_id": session_id, **{key: told[key] for key in ("company_id", "portal", "job_uid", "epoch")}, "state": "active"}
        return {"ok": True, "session_id": session_id, "url": "https://x.example/", "titulo": "t"}


def http(body, *lines, status="200 OK", kind="application/json", version="1.1", length=True):
    head = [f"HTTP/{version} {status}", *([f"Content-Type: {kind}"] if kind else []), *lines, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def ok(told):
    return http(json.dumps(told).encode())


def chunked(body, *lines, end=b"0\r\n\r\n", size="{:x}\r\n"):
    half = len(body) // 2
    parts = b"".join(size.format(len(part)).encode() + part + b"\r\n" for part in (body[:half], body[half:]) if part)
    return http(parts + end, "Transfer-Encoding: chunked", *lines, length=False)


@pytest.fixture
def odd(make_system):
    robot = OddRobot()
    system = make_system(robots=0, settings={"queue.max_attempts": 2})
    system.ctl("worker", "add", "odd", "--base-url", robot.url)
    wait_until(lambda: "robot=odd from=unknown to=up" in system.dispatcher.text(), 20, "it is up")
    system.odd = robot
    system.check_doctor = False
    yield system
    robot.listening.close()


def test_odd_robots(odd):
    system, robot, results = odd, odd.odd, Results()
    dump = lambda told: json.dumps(told).encode()  # noqa: E731

    def wrapped(change):
        """An answer to a log-in: what the contract says, as `change` would write it."""
        return lambda body: change(robot.session(body))

    logins = {
        "103 first": lambda t: b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + ok(t),
        "100 first": lambda t: b"HTTP/1.1 100 Continue\r\n\r\n" + ok(t),
        "chunked with trailers": lambda t: chunked(dump(t), "Trailer: X-T", end=b"0\r\nX-T: 1\r\n\r\n"),
        "chunk extensions": lambda t: chunked(dump(t), size="{:X};a=b\r\n"),
        "HTTP/1.0 without length": lambda t: http(dump(t), version="1.0", length=False),
        "a byte order mark": lambda t: http(b"\xef\xbb\xbf" + dump(t)),
        "no content type": lambda t: http(dump(t), kind=None),
        "text/html": lambda t: http(dump(t), kind="text/html; charset=utf-8"),
        "text/json": lambda t: http(dump(t), kind="text/json"),
        "problem+json": lambda t: http(dump(t), kind="application/vnd.api+json"),
        "lower case head": lambda t: http(dump(t)).replace(b"Content-", b"content-"),
        "12 KiB of cookies": lambda t: http(dump(t), *[f"Set-Cookie: c{n}={'x' * 1000}" for n in range(12)]),
        "no reason": lambda t: http(dump(t), status="200 "),
        "bare LF in the head": lambda t: http(dump(t)).replace(b"\r\n", b"\n"),
        "blanks around": lambda t: http(b"\r\n\t " + dump(t) + b"\n\n"),
        "title in windows-1252": lambda t: http(dump({**t, "titulo": "Pena"}).replace(b"Pena", b"Pe\xf1a"), kind="application/json; charset=windows-1252"),
        "title in overlong UTF-8": lambda t: http(dump({**t, "titulo": "QQ"}).replace(b"QQ", b"\xc0\xaf\xf8\x88\x80\x80\x80")),
        "title as surrogates in UTF-8": lambda t: http(dump({**t, "titulo": "QQ"}).replace(b"QQ", b"\xed\xa0\xbd\xed\xb8\x80")),
        "title of 60,000": lambda t: http(dump({**t, "titulo": "x\u0301" * 9000})),
        "title that is an object": lambda t: http(dump({**t, "titulo": {"es": "Menú"}, "url": None})),
        "title that is a number": lambda t: http(dump({**t, "titulo": 17, "url": 3.5})),
        "NaN beside": lambda t: http(dump({**t, "score": float("nan")})),
        "Infinity beside": lambda t: http(dump({**t, "score": [float("-inf")]})),
        "big integers beside": lambda t: http(dump({**t, "trace": 2**80, "x": 10**400})),
        "a float like 1e999 beside": lambda t: http(dump({**t, "x": 0}).replace(b'"x": 0', b'"x": 1e999')),
        "a key twice": lambda t: http(dump(t)[:-1] + b', "titulo": "again"}'),
        "an empty key": lambda t: http(dump({**t, "": 1, "a\u0000b": 2})),
        "a deep answer": lambda t: http(dump({**t, "debug": json.loads("[" * 20 + "]" * 20)})),
        "ok is 1": lambda t: http(dump({**t, "ok": 1})),
        "ok is missing": lambda t: http(dump({k: v for k, v in t.items() if k != "ok"})),
        "a list around": lambda t: http(dump([t])),
        "UTF-16": lambda t: http(json.dumps(t).encode("utf-16")),
        "a comment": lambda t: http(b"/* ok */" + dump(t)),
        "single quotes": lambda t: http(repr(t).encode()),
        "an XSSI prefix": lambda t: http(b")]}',\n" + dump(t)),
        "a trailing comma": lambda t: http(dump(t)[:-1] + b",}"),
        "two JSON values": lambda t: http(dump(t) + b"\n" + dump(t)),
        "a length too small": lambda t: http(dump(t)).replace(b"Content-Length: ", b"Content-Length: 1\r\nX: "),
        "two lengths alike": lambda t: http(dump(t), f"Content-Length: {len(dump(t))}"),
        "two lengths that differ": lambda t: http(dump(t), "Content-Length: 5"),
    }  # fmt: skip
    ids = ["a/b", "séance 1", "😀", "x" * 100, "{8f14e45f-ceea-467f}", "a?b#c%2Fd", "..", "+1", "Zm9v+/==", "x" * 101, "", "a\tb", " a", 12345, None, True, ["a"]]
    refused = {"ok is 1", "ok is missing", "a list around", "UTF-16", "a comment", "single quotes", "an XSSI prefix", "a trailing comma", "two JSON values",
               "a length too small", "two lengths that differ", "a key twice"}  # fmt: skip

    def login(company, change):
        robot.answers = {"POST /sunat/login": wrapped(change)}
        answer = system.api.execute(company, params=LOGIN, timeout=40, headers={"X-Deadline-Ms": "20000"})
        robot.answers = {}
        if answer.status != 200:
            return answer.status, answer.error
        session = answer.json["session_id"]
        system.api.list(session).expect(200)
        titulo = system.api.active(company).expect(200).json
        system.api.close(session)
        return 200, (answer.json["robot"] or {}).get("titulo"), titulo["state"]

    for n, (name, change) in enumerate(logins.items()):
        def one(n=n, name=name, change=change):
            told = login(1000 + n, change)
            assert told[0] in ((200, 502) if name in refused else (200,)), told
            return told
        results.play("log-in answers", name, one)
    for n, session_id in enumerate(ids):
        def one(n=n, session_id=session_id):
            return login(1200 + n, lambda t: ok({**t, "session_id": session_id}))
        results.play("session ids", repr(session_id)[:40], one)

    robot.answers = {}
    session = system.api.execute(1, params=LOGIN).expect(200).json["session_id"]
    names = {
        "attachment; filename=e267_Survey results. Leaf between, mulch, burn.txt": ".txt",
        "attachment;filename*=utf-8''f3I5VzTa%5FJava8%2064%E4%BD%8D%2Eexe;filename=\"f3I5VzTa_Java8 64%E4%BD%8D.exe\"": "f3I5VzTa_Java8 64位.exe",
        'attachment; filename="test ; value.ics"': "test ; value.ics",
        'attachment; filename="he said \\"hola\\".pdf"': ".pdf",
        "inline; filename='single.pdf'": "single.pdf",
        "attachment; filename*=ISO-8859-1'es'a%F1o.pdf": "año.pdf",
        'ATTACHMENT; FILENAME="UPPER.PDF"': "UPPER.PDF",
        "filename=only.pdf": "only.pdf",
        'attachment; filename="raw ñ.pdf"'.encode().decode("latin-1"): "raw ñ.pdf",
        'attachment; filename=""': "",
        'attachment; filename="../../etc/passwd.pdf"': "passwd.pdf",
        'attachment; filename="=?ISO-8859-1?Q?a=F1o_2024.pdf?="': "año 2024.pdf",
        "attachment; foo=\"filename*=utf-8''evil.exe; x\"; filename=\"good.pdf\"": "good.pdf",
        'attachment; filename="a.pdf"; filename="b.pdf"': ".pdf",
        'attachment; filename = "blanks.pdf" ;': "blanks.pdf",
        "attachment; filename*=UTF-8''%FF%FEbad.pdf": "bad.pdf",
        "attachment; filename*=\"UTF-8''quoted%20star.pdf\"": "quoted star.pdf",
        "attachment; filename*=utf8''no-dash%C3%B1.pdf": "no-dashñ.pdf",
        "attachment; filename*=garbage.pdf; filename=\"plain.pdf\"": "plain.pdf",
        'attachment; filename="report_2020-04-03T22:03:31.xlsx"': ".xlsx",
        'attachment; filename="Factura N\xb0 12.pdf"': "Factura N° 12.pdf",
        "attachment; filename=a+b%2Bc.pdf": ".pdf",
        'attachment; filename="50% off.pdf"': "50% off.pdf",
        'attachment; filename="unended.pdf': "unended.pdf",
        'attachment; filename="tab\tin.pdf"': ".pdf",
        "attachment; filename=x.pdf; size=12; creation-date=\"Wed, 12 Feb 1997 16:29:51 -0500\"": "x.pdf",
        'form-data; name="f"; filename="form.pdf"': "form.pdf",
    }  # fmt: skip

    def name_of(value):
        robot.answers = {"GET /files/": http(b"%PDF-bytes", "Content-Disposition: " + value, kind="application/pdf")}
        answer = system.api.download(session, "f").expect(200)
        assert answer.body == b"%PDF-bytes"
        told = answer.headers.get("Content-Disposition", "")
        return unquote(told.partition("filename*=UTF-8''")[2]) or told

    for value, wanted in names.items():
        def one(value=value, wanted=wanted):
            told = name_of(value)
            assert (told.endswith(wanted) if wanted.startswith(".") else wanted in told if wanted == "bad.pdf" else wanted in ("", told)), told
            return told
        results.play("file names", value.encode("ascii", "replace").decode()[:60], one)

    for encoding in ("br", "GZIP", "x-gzip", "identity", "gzip, gzip", "none", "UTF-8", "", "zstd", "aws-chunked"):
        def one(encoding=encoding):
            robot.answers = {"GET /files/": http(b"\x1f\x8bbytes", f"Content-Encoding: {encoding}", kind="application/pdf")}
            answer = system.api.download(session, "f").expect(200)
            assert answer.body == b"\x1f\x8bbytes"
            return answer.headers.get("Content-Encoding")
        results.play("encodings of files", encoding, one)
    for name, told in {
        "chunked": chunked(b"bytes" * 100), "HTTP/1.0": http(b"bytes" * 100, version="1.0", length=False), "no type": http(b"bytes" * 100, kind=None),
        "103 first": b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(b"bytes" * 100), "type of 300": http(b"bytes" * 100, kind="application/" + "x" * 300),
        "close": http(b"bytes" * 100, "Connection: close"), "two types": http(b"bytes" * 100, "Content-Type: text/plain"),
    }.items():  # fmt: skip
        def one(told=told):
            robot.answers = {"GET /files/": told}
            answer = system.api.download(session, "f").expect(200)
            assert answer.body == b"bytes" * 100
            return answer.headers.get("Content-Type", "")[:60]
        results.play("files framed", name, one)
    for name, told in {"empty": http(b""), "204": http(b"", status="204 No Content", length=False), "206": http(b"by", "Content-Range: bytes 0-1/5", status="206 Partial"),
                       "404 html": http(b"<h1>", status="404 Not Found", kind="text/html"), "304": http(b"", status="304 Not Modified", length=False),
                       "416": http(b"", status="416 No")}.items():  # fmt: skip
        def one(told=told):
            robot.answers = {"GET /files/": told}
            answer = system.api.download(session, "f")
            return answer.status, answer.error
        results.play("files framed oddly", name, one)
    robot.answers = {}
    system.api.list(session).expect(200)

    lists = {
        "a mark": b"\xef\xbb\xbf" + b'{"ok":true}', "blanks": b"\n\n  [1]", "numbers": b'{"n":9007199254740993,"f":1e400,"g":NaN}', "1.5 MiB": b'["' + b"x" * 1_500_000 + b'"]',
        "a number": b"17", "null": b"null", "a text": b'"texto"', "cut": b'{"ok":tr', "latin-1": b'{"a":"\xf1"}',
    }  # fmt: skip
    for name, body in lists.items():
        def one(body=body):
            robot.answers = {"GET /sunat/buzon/list": http(body)}
            answer = system.api.list(session)
            robot.answers = {}
            assert answer.status in (200, 502), answer
            assert answer.status != 200 or answer.body == body.removeprefix(b"\xef\xbb\xbf")  # JSON has no mark
            return answer.status, answer.error if answer.status != 200 else ""
        results.play("lists", name, one)

    def verdict():
        return next(one for one in system.ops.get("/api/v1/ops/workers").expect(200).json["workers"] if one["name"] == "odd")

    def health(told, wanted):
        robot.answers = {"GET /health": told}
        time.sleep(0.4)
        got = wait_until(lambda: (w := verdict()) and w["verdict"] in wanted and w, 15, f"one of {wanted}: {verdict()}")
        system.api.list(session).expect(200) if got["verdict"] in ("up", "suspect") else None
        robot.answers = {}
        wait_until(lambda: verdict()["verdict"] == "up", 20, f"up again: {verdict()}")
        system.api.list(session).expect(200)
        return got["verdict"], got.get("why")

    well, bad = ("up",), ("down", "sick", "suspect")
    count = lambda **more: {"ok": True, "sessions": len(robot.open), "capacity": 100, **more}  # noqa: E731
    for name, told, wanted in (
        ("boot id in latin-1", http(dump(count(boot_id="QQ")).replace(b"QQ", b"\xf1\xe9")), well),
        ("boot id an object", ok(count(boot_id={"a": [1]})), well),
        ("boot id of 5,000", ok(count(boot_id="x" * 5000)), well),
        ("text/plain", http(dump(count()), kind="text/plain"), (*well, *bad)),
        ("chunked with trailers", chunked(dump(count()), end=b"0\r\nA: b\r\n\r\n"), well),
        ("103 first", b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(count()), well),
        ("NaN beside", http(dump(count(load=float("nan")))), well),
        ("capacity 100.0", ok(count(capacity=100.0)), (*well, *bad)),
        ("sessions a list", ok(count(sessions=[])), (*well, *bad)),
        ("only ok", ok({"ok": True}), (*well, *bad)),
        ("a page", http(b"<html>ok</html>", kind="text/html"), bad),
        ("401", http(b"{}", status="401 Unauthorized"), bad),
    ):  # fmt: skip
        results.play("health", name, health, told, wanted)

    boots = {"n": 0}

    def alternate(_):
        boots["n"] += 1
        return ok(count(boot_id=f"pod-{boots['n'] % 2}"))

    def two_boots():
        robot.answers = {"GET /health": alternate}
        told = wait_until(lambda: [w["text"] for w in system.ops.get("/api/v1/ops/stats").json["words"] if "odd" in w["text"] and "boot" in w["text"].lower() or "two" in w["text"].lower()], 40, "two processes behind one URL are said")
        robot.answers = {}
        return told[0][:120]

    results.play("two boots", "pods by turns", two_boots)
    results.judge()


def test_files_that_people_have(tmp_path, database):
    ctl, results = Ctl(tmp_path / "ctl", database), Results()
    same = [{"company_id": 7, "params": {"clave": "a"}}, {"company_id": 8, "params": {"clave": "b"}}]
    for name, data, rows in (
        ("quoted header", b'"company_id","clave"\r\n"7","a"\r\n"8","b"\r\n', same),
        ("mark before a quote", b'\xef\xbb\xbf"company_id";"clave"\r\n"7";"a"\r\n"8";"b"\r\n', same),
        ("column order", b"clave,company_id\na,7\nb,8\n", same),
        ("sep=tab", b"sep=\t\r\ncompany_id\tclave\r\n7\ta\r\n8\tb\r\n", same),
        ("SEP=, quoted", b'"sep=,"\r\ncompany_id,clave\r\n7,a\r\n8,b\r\n', same),
        ("mark and sep=", b"\xef\xbb\xbfsep=;\r\ncompany_id;clave\r\n7;a\r\n8;b\r\n", same),
        ("blank lines first", b"\r\n\r\ncompany_id,clave\r\n7,a\r\n8,b\r\n", same),
        ("separators first", b";;\r\ncompany_id;clave;\r\n7;a;\r\n8;b;\r\n", same),
        ("Company-ID", b"Company-ID,Clave\n7,a\n8,b\n", same),
        ("a formula", b'company_id,clave\n="7",a\n="8",b\n', same),
        ("an apostrophe", b"company_id,clave\n'7,a\n'8,b\n", None),
        ("full-width digits", "company_id,clave\n７,a\n８,b\n".encode(), None),
        ("a plus", b"company_id,clave\n+7,a\n+8,b\n", None),
        ("NEL", "company_id,clave\u00857,a\u00858,b\u0085".encode(), None),
        ("mixed line ends", b"company_id,clave\r\n7,a\n8,b\r", same),
        ("CR CR LF", b"company_id,clave\r\r\n7,a\r\r\n8,b\r\r\n", same),
        ("zero-width space", "company_id,clave\n\u200b7,a\n8\u200b,b\n".encode(), None),
        ("a NUL", b"company_id,clave\n7,a\x00\n8,b\n", None),
        ("UTF-32", "company_id,clave\n7,a\n8,b\n".encode("utf-32"), None),
        ("MacRoman line", "company_id,clave\r7,a\r8,b".encode(), same),
        ("a quote not closed", b'company_id,clave\n7,"a\n8,b\n', None),
        ("1,234", b'company_id;clave\n"1,234";a\n8;b\n', None),
        ("a newline in a cell", b'company_id,clave\n7,"a\r\nb"\n8,b\n', [{"company_id": 7, "params": {"clave": "a\r\nb"}}, same[1]]),
        ("NDJSON numbers as texts", b'{"company_id":"7","params":{"clave":"a"}}\n{"company_id":"8","params":{"clave":"b"}}\n', None),
        ("NDJSON blank lines", b'\n{"company_id":7,"params":{"clave":"a"}}\n\n\n{"company_id":8,"params":{"clave":"b"}}\n\n', same),
        ("RS before records", b'\x1e{"company_id":7,"params":{"clave":"a"}}\n\x1e{"company_id":8,"params":{"clave":"b"}}\n', None),
        ("a JSON list on one line", json.dumps(same).encode(), None),
        ("a title row", b"Empresas de julio,\ncompany_id,clave\n7,a\n8,b\n", None),
        ("an HTML table as .xls", b"<html><table><tr><td>company_id</td></tr></table>", None),
    ):  # fmt: skip
        def one(data=data, rows=rows):
            items, said = submitted(ctl, data)
            assert (items == rows) if rows else (items == same or said.strip()), (items, said)
            return len(items), said.strip()[-150:].replace("\n", " / ")
        results.play("files", name, one)
    results.judge()


def test_odd_clients(system):
    results = Results()
    session = system.api.login(1, params=LOGIN)
    path, host = f"/api/v1/app/buzon/list?session_id={session}", system.api_url()
    auth = f"Authorization: Bearer {system.token}\r\n"
    body = json.dumps({"company_id": 1, "portal": "sunat", "action": "sunat.menu_sol_login", "params": LOGIN})

    def send(text, wanted):
        told = raw(host, text.encode("latin-1") if isinstance(text, str) else text, timeout=8)
        status = int(told.split(b" ")[1]) if told.startswith(b"HTTP/") else 0
        assert status in wanted, told[:400]
        return status, told.partition(b"\r\n\r\n")[2][:120]

    post = f"POST /api/v1/app/jobs/execute HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: application/json\r\nConnection: close\r\n"
    get = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    half = len(body) // 2
    for name, text, wanted in (
        ("HTTP/1.0 without Host", f"GET {path} HTTP/1.0\r\n{auth}\r\n", (200,)),
        ("chunked body", f"{post}Transfer-Encoding: chunked\r\n\r\n{half:x}\r\n{body[:half]}\r\n{len(body) - half:x};x=y\r\n{body[half:]}\r\n0\r\nT: 1\r\n\r\n", (200,)),
        ("Expect: 100-continue", f"{post}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n{body}", (100, 200)),
        ("bearer in lower case", f"{get}authorization: bearer {system.token}\r\n\r\n", (200,)),
        ("two blanks before the token", f"{get}Authorization: Bearer  {system.token}\r\n\r\n", (200, 401)),
        ("blanks behind the token", f"{get}Authorization: Bearer {system.token}  \r\n\r\n", (200,)),
        ("token with %7C", f"{get}Authorization: Bearer {system.token.replace('|', '%7C')}\r\n\r\n", (200, 401)),
        ("two Authorizations", f"{get}{auth}Authorization: Bearer 1|x\r\n\r\n", (200, 400, 401)),
        ("double slash", f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 404)),
        ("slash at the end", f"GET /api/v1/app/jobs/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 404)),
        ("Accept: text/html", f"{get}{auth}Accept: text/html\r\n\r\n", (200,)),
        ("8 KiB of cookies", f"{get}{auth}Cookie: {'x' * 8000}\r\n\r\n", (200,)),
        ("deadline abc", f"{get}{auth}X-Deadline-Ms: abc\r\n\r\n", (200, 422)),
        ("deadline 5000.0", f"{get}{auth}X-Deadline-Ms: 5000.0\r\n\r\n", (200, 422)),
        ("page 01", f"GET {path}&page=01 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 422)),
        ("page empty", f"GET {path}&page= HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 422)),
        ("session twice", f"GET {path}&session_id=zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 404, 422)),
        ("a plus for a blank", f"GET {path}&page=+1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 422)),
        ("semicolons", f"GET {path};page=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 404, 422)),
        ("bare % in the query", f"GET {path}&x=100% HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 400, 422)),
        ("a fragment", f"GET {path}#top HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200, 400, 404)),
        ("HEAD", f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (200,)),
        ("two requests at once", f"GET {path} HTTP/1.1\r\nHost: x\r\n{auth}\r\n{get}{auth}\r\n", (200,)),
        ("blank line first", f"\r\n{get}{auth}\r\n", (200,)),
        ("a body on GET", f"{get}{auth}Content-Length: 2\r\n\r\n{{}}", (200, 400)),
        ("a form", f"POST /api/v1/app/jobs/execute HTTP/1.1\r\nHost: x\r\n{auth}Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b", (415,)),
        ("no type", f"POST /api/v1/app/jobs/execute HTTP/1.1\r\nHost: x\r\n{auth}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}", (200, 415)),
        ("no body", f"{post}Content-Length: 0\r\n\r\n", (400, 422)),
        ("null body", f"{post}Content-Length: 4\r\n\r\nnull", (400, 422)),
        ("gzip body", f"{post}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n{body}", (400, 415)),
        ("method override", f"{post}X-HTTP-Method-Override: DELETE\r\nContent-Length: {len(body)}\r\n\r\n{body}", (200,)),
        ("params null", post + "Content-Length: {}\r\n\r\n{}".format(*(lambda b: (len(b), b))(body.replace(json.dumps(LOGIN), "null"))), (200, 422)),
        ("company 1.0", post + "Content-Length: {}\r\n\r\n{}".format(*(lambda b: (len(b), b))(body.replace('"company_id": 1', '"company_id": 1.0'))), (200, 422)),
        ("TRACE", f"TRACE /api/v1/app/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n", (405, 400, 501)),
        ("PROPFIND", f"PROPFIND / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (401, 404, 405, 501)),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 600 + b"\r\n\r\n", (0, 400)),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (0, 400, 404, 405, 505)),
        ("PROXY protocol", f"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n{get}{auth}\r\n", (0, 400, 404, 405, 501, 505)),
    ):  # fmt: skip
        results.play("clients", name, send, text, wanted)
    for ops in ("/healthz?x=1", "/healthz/", "/HEALTHZ", "/readyz?verbose", "//healthz", "/metrics?format=prometheus", "/favicon.ico", "/robots.txt"):
        def one(ops=ops):
            told = raw(system.ops_url, f"GET {ops} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: Mozilla/5.0+(compatible; UptimeRobot/2.0)\r\n\r\n".encode())
            status = int(told.split(b" ")[1])
            assert status < 500, told
            return status
        results.play("health paths", ops, one)

    numbers = '{"a":1E+2,"b":0.10,"c":1.10e-5,"d":9007199254740993,"e":[1.0,[2.50]],"f":{"g":-0},"h":0.1e1,"i":18446744073709551616,"j":1e400,"k":5e-324,"clave":"demo","usuario":"DEMO","ruc":"1"}'
    def written(send, company):
        status = send(company)
        if status >= 300:
            return status
        wait_until(lambda: system.robot.calls("login", company), 20, "the log-in came")
        sent = json.dumps(system.robot.calls("login", company)[-1]["body"])
        wanted = json.loads(numbers)
        got = json.loads(sent)
        assert all(got[key] == wanted[key] and type(got[key]) is type(wanted[key]) for key in wanted), (sent, numbers)
        return status

    def sync(company):
        return system.api.post("/api/v1/app/jobs/execute", body=f'{{"company_id":{company},"portal":"sunat","action":"sunat.menu_sol_login","params":{numbers}}}'.encode(),
                               headers={"Content-Type": "application/json"}).status  # fmt: skip

    def queued(company):
        return system.api.post("/api/v1/app/jobs/execute", body=f'{{"company_id":{company},"portal":"sunat","action":"sunat.menu_sol_login","params":{numbers}}}'.encode(),
                               headers={"Content-Type": "application/json", "Prefer": "respond-async"}).status  # fmt: skip

    def line(company):
        return system.api.post("/api/v1/app/batches", query={"portal": "sunat", "action": "sunat.menu_sol_login"}, body=f'{{"company_id":{company},"params":{numbers}}}\n'.encode(),
                               headers={"Content-Type": "application/x-ndjson"}).status  # fmt: skip

    def stored(company):
        status = system.api.put("/api/v1/app/credentials", body=f'{{"company_id":{company},"portal":"sunat","credentials":{numbers}}}'.encode(), headers={"Content-Type": "application/json"}).status
        return status if status >= 300 else system.api.execute(company).status

    def array(company):
        return system.api.post("/api/v1/app/batches", body=f'{{"portal":"sunat","action":"sunat.menu_sol_login","items":[{{"company_id":{company},"params":{numbers}}}]}}'.encode(),
                               headers={"Content-Type": "application/json"}).status  # fmt: skip

    for n, way in enumerate((sync, queued, line, stored, array)):
        results.play("numbers", way.__name__, written, way, 300 + n)

    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo
    for n, zone in enumerate(("America/Santiago", "America/Sao_Paulo", "Asia/Kathmandu", "Antarctica/Troll", "Europe/Dublin", "EST5EDT", "Africa/Casablanca", "Etc/GMT+5",
                              "Australia/Lord_Howe", "Pacific/Kiritimati")):  # fmt: skip
        def one(n=n, zone=zone):
            system.ctl("schedule", "add", f"z{n}", "--cron", "0 7 * * *", "--zone", zone, "--portal", "sunat", "--action", "sunat.menu_sol_login", "--company", "1")
            shown = next(s for s in system.ctl_json("schedule", "list")["schedules"] if s["name"] == f"z{n}")
            now = datetime.now(ZoneInfo(zone))
            due = now.replace(hour=7, minute=0, second=0, microsecond=0)
            due = due if due > now else (now + timedelta(days=1)).replace(hour=7, minute=0, second=0, microsecond=0)
            told = next(value for key, value in shown.items() if key.startswith("next"))
            assert datetime.fromisoformat(told.replace("Z", "+00:00")) == due, (told, due)
            return told
        results.play("zones", zone, one)
    for n, zone in enumerate(("Lima", "america/lima", "GMT-5:99", "../../etc/passwd", "", "America/Lima ", "UTC+5")):
        def one(n=n, zone=zone):
            told = system.ctl("schedule", "add", f"y{n}", "--cron", "0 7 * * *", "--zone", zone, "--portal", "sunat", "--action", "sunat.menu_sol_login", "--company", "1", check=False)
            assert told.returncode in (0, 1, 2) and (told.stdout + told.stderr).strip()
            return told.returncode, (told.stdout + told.stderr).strip()[:120]
        results.play("zones that are none", zone, one)
    results.judge()


def test_odd_databases(make_system, mariadb):
    system, results = make_system(capacity=2000, settings={"queue.max_attempts": 2}), Results()
    db, company = system.database, iter(range(1, 100000))

    def works(n=12, **wanted):
        first = next(company)
        for _ in range(n + 1):
            last = next(company)
        def login():
            answer = system.api.execute(first, params=LOGIN)
            return answer.status == 200 or (answer.status in (502, 503, 504, 409) and None)
        wait_until(login, 30, "a log-in", every=0.3)
        batch = wait_until(lambda: (a := system.api.batch([{"company_id": c, "params": LOGIN} for c in range(first + 1, first + 1 + n)])).status == 202 and a.json["batch_id"], 8, "a batch")
        told = wait_until(lambda: (b := system.api.get(f"/api/v1/app/batches/{batch}").json["batch"])["status"] == "done" and b, 60, "the batch has ended")
        assert told["counts"]["done"] == wanted.get("done", n), told["counts"]
        return told["counts"]

    def again():
        for row in mariadb.sql("SHOW PROCESSLIST"):
            if row["User"] == db.user:
                try:
                    mariadb.sql(f"KILL {row['Id']}")
                except Exception:  # noqa: BLE001, S110 - it has gone by itself
                    pass

    for name, value in (("sql_select_limit", "1"), ("tx_read_only", "1"), ("sql_safe_updates", "1"), ("max_join_size", "100"), ("autocommit", "0"),
                        ("completion_type", "'CHAIN'"), ("sql_mode", "'ANSI,NO_BACKSLASH_ESCAPES'"), ("time_zone", "'-05:00'"), ("tx_isolation", "'SERIALIZABLE'"),
                        ("wait_timeout", "1")):  # fmt: skip
        def one(name=name, value=value):
            before = mariadb.sql(f"SELECT @@GLOBAL.{name} AS v")[0]["v"]
            mariadb.sql(f"SET GLOBAL {name} = {value}")
            try:
                again()
                return works()
            finally:
                mariadb.sql(f"SET GLOBAL {name} = " + (f"'{before}'" if isinstance(before, str) else str(before)))
                again()
        results.play("server settings", f"{name}={value}", one)

    for name, make, undo in (
        ("latin1 table", "ALTER TABLE portal_jobs CONVERT TO CHARACTER SET latin1", "ALTER TABLE portal_jobs CONVERT TO CHARACTER SET utf8mb4"),
        ("a generated column", "ALTER TABLE portal_jobs ADD COLUMN gen BIGINT AS (company_id * 2) STORED", "ALTER TABLE portal_jobs DROP COLUMN gen"),
        ("milliseconds", "ALTER TABLE portal_jobs MODIFY updated_at TIMESTAMP(3) NULL", "ALTER TABLE portal_jobs MODIFY updated_at TIMESTAMP NULL"),
        ("a huge auto_increment", "ALTER TABLE portal_jobs AUTO_INCREMENT = 9007199254740995", "SELECT 1"),
    ):
        def one(make=make, undo=undo):
            db.execute(make)
            try:
                return works()
            finally:
                db.execute(undo)
        results.play("later migrations", name, one)
    assert system.portal.violations() == []
    results.judge()
