# SPDX-License-Identifier: MIT
"""The ways in which the demo robot misbehaves, one function each.

Owns the table of switches (call -> behaviours) that a test sets through POST /_test/behave. A behaviour stands between the
HTTP server and the robot's real handler: it may let the work be done and spoil the answer, or answer without any work.
Which of the two is the mode's nature (WORKS), and can be turned round with "work": true or false.

A switch of unknown mode or call is refused with 422 when it is set, so that a test cannot misspell one unnoticed.
"""

import asyncio
import json
import socket
import struct
from gzip import compress

from aiohttp import web

CALLS = ("login", "list", "file", "health", "delete", "sessions", "fence", "echo", "submit", "other")
# Modes that do the work before they spoil its answer; the others never reach it.
WORKS = {"drip", "cut", "truncated_json", "close_before_answer", "delay", "overlay", "gzip", "other_id", "splice"}
# Modes that the log-in itself obeys: the choice of a session id.
SESSION_IDS = {"wrong_session_id", "duplicate_session_id", "long_session_id"}


class Switches:
    """What each call does wrong now. A call has a list of behaviours: the first that fits the company counts."""

    def __init__(self):
        self.table = {}

    def set(self, wanted):
        """An empty object clears all; a call's null clears that call; calls that are not named stay."""
        for call, behaviours in wanted.items():
            if call not in CALLS:
                raise ValueError(f"unknown call {call!r}")
            for behaviour in as_list(behaviours):
                if not isinstance(behaviour, dict) or behaviour.get("mode") not in MODES.keys() | SESSION_IDS:
                    raise ValueError(f"unknown mode in {behaviour!r}")
        if not wanted:
            self.table.clear()
        for call, behaviours in wanted.items():
            self.table[call] = [dict(behaviour) for behaviour in as_list(behaviours)]

    def take(self, call, company_id):
        """The behaviour of this call, one of its `times` used up, or None."""
        for behaviour in self.table.get(call, ()):
            if "company_id" in behaviour and behaviour["company_id"] != company_id:
                continue
            if "times" in behaviour:
                if behaviour["times"] <= 0:
                    continue
                behaviour["times"] -= 1
            return behaviour
        return None


def as_list(value):
    return value if isinstance(value, list) else [] if value is None else [value]


async def misbehave(behaviour, request, handler):
    """Answers the request, badly. A cut connection ends the handler with ConnectionResetError."""
    mode = behaviour["mode"]
    request["behaviour"] = behaviour
    if mode in SESSION_IDS:
        return await handler(request)
    if mode == "delay" and not behaviour.get("after"):
        await asyncio.sleep(behaviour["ms"] / 1000)
    answer = await handler(request) if behaviour.get("work", mode in WORKS) and not streams(request, mode) else None
    return await MODES[mode](behaviour, request, answer, handler)


def streams(request, mode):
    """A file is spoiled while it streams, by its own handler, rather than afterwards."""
    return request["call"] == "file" and mode in ("drip", "cut", "close_before_answer", "delay", "gzip")


def close(request):
    if request.transport:
        request.transport.close()
    raise ConnectionResetError("closed on purpose")


def reset_connection(request):
    """RST instead of FIN."""
    if request.transport:
        raw = request.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    raise ConnectionResetError("reset on purpose")


def head_of(answer, length):
    """The bytes of an HTTP head that announces `length`."""
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() != "content-length"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def raw(request, data):
    if request.transport is None:
        raise ConnectionResetError("the client is gone")
    request.transport.write(data)


async def hang(behaviour, request, answer, handler):
    while request.transport is not None:  # aiohttp does not tell a handler that its client went away
        await asyncio.sleep(0.1)
    raise ConnectionResetError("the client gave up")


async def reset(behaviour, request, answer, handler):
    reset_connection(request)


async def garbage(behaviour, request, answer, handler):
    raw(request, b"\x16\x03\x01 this is not HTTP \x00\xff\xfe\r\n" * 8)
    close(request)


async def status(behaviour, request, answer, handler):
    body = behaviour.get("body", {"ok": False, "error": "robot_broken", "message": "on purpose"})
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(
        status=behaviour.get("status", 500),
        body=text.encode(),
        headers={"Content-Type": behaviour.get("content_type", "application/json"), **behaviour.get("headers", {})},
    )


async def redirect(behaviour, request, answer, handler):
    return web.Response(status=behaviour.get("status", 302), headers={"Location": behaviour["location"]})


async def drip(behaviour, request, answer, handler):
    """Head at once (with "head": true it drips too), then the body at bytes_per_s."""
    if streams(request, "drip"):
        return await handler(request)
    head = head_of(answer, len(answer.body or b""))
    data = bytes(answer.body or b"")
    if behaviour.get("head"):
        head, data = b"", head + data
    raw(request, head)
    step = max(1, behaviour["bytes_per_s"] // 50)
    for at in range(0, len(data), step):
        raw(request, data[at : at + step])
        await asyncio.sleep(step / behaviour["bytes_per_s"])
    close(request)


async def endless(behaviour, request, answer, handler):
    response = web.StreamResponse(headers={"Content-Type": behaviour.get("content_type", "application/json")})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b'{"ok":true,"pad":"')
    while True:
        await response.write(b"a" * 65536)


async def cut(behaviour, request, answer, handler):
    """Announces all of the answer, sends half (or "bytes": N) and closes."""
    if streams(request, "cut"):
        return await handler(request)
    body = bytes(answer.body or b"")
    raw(request, head_of(answer, len(body)) + body[: behaviour.get("bytes", len(body) // 2)])
    close(request)


async def delay(behaviour, request, answer, handler):
    if answer is None:
        return await handler(request)
    if behaviour.get("after"):
        await asyncio.sleep(behaviour["ms"] / 1000)
    return answer


async def close_before_answer(behaviour, request, answer, handler):
    close(request)


async def html(behaviour, request, answer, handler):
    return web.Response(text="<!doctype html><title>502 Bad Gateway</title>", content_type="text/html")


async def not_json(behaviour, request, answer, handler):
    return web.Response(body=b"hello, this is no JSON", headers={"Content-Type": "application/json"})


async def truncated_json(behaviour, request, answer, handler):
    """Half of the JSON, with the length of that half: HTTP sees nothing wrong."""
    body = bytes(answer.body or b"")
    return web.Response(
        status=answer.status, body=body[: len(body) // 2], headers={"Content-Type": "application/json"}
    )


async def empty(behaviour, request, answer, handler):
    return web.Response(body=b"", headers={"Content-Type": "application/json"})


async def overlay(behaviour, request, answer, handler):
    """The true answer with some fields replaced: "fields": {...}; null removes one. "status" replaces its status."""
    told = {**json.loads(answer.body), **behaviour.get("fields", {})}
    fields = {name: told[name] for name in told if told[name] is not None}
    return web.json_response(fields, status=behaviour.get("status", answer.status))


async def gzip(behaviour, request, answer, handler):
    """Encoded though nobody asked for it. A file is only labelled so: its bytes are as they are."""
    if streams(request, "gzip"):
        return await handler(request)
    head = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}
    return web.Response(status=answer.status, body=compress(bytes(answer.body or b"")), headers=head)


async def other_id(behaviour, request, answer, handler):
    """The true answer, under the id of another request."""
    answer.headers["X-Request-Id"] = "of-another-request"
    return answer


async def splice(behaviour, request, answer, handler):
    """The true answer with some values replaced by bytes, as they are: "fields": {name: hex of a JSON value}, "headers": {name: hex}."""
    told = json.loads(answer.body)
    fields = {name: bytes.fromhex(value) for name, value in behaviour.get("fields", {}).items()}
    told.update({name: f"@@{name}@@" for name in fields})
    body = json.dumps(told).encode()
    for name, value in fields.items():
        body = body.replace(json.dumps(f"@@{name}@@").encode(), value)
    head = f"HTTP/1.1 {behaviour.get('status', answer.status)} .\r\nContent-Type: application/json\r\n".encode()
    head += b"".join(f"{name}: ".encode() + bytes.fromhex(value) + b"\r\n" for name, value in behaviour.get("headers", {}).items())
    raw(request, head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    close(request)


MODES = {
    function.__name__: function
    for function in (
        hang, reset, garbage, status, redirect, drip, endless, cut, delay, close_before_answer, html, not_json,
        truncated_json, empty, overlay, gzip, other_id, splice,
    )
}  # fmt: skip
