# SPDX-License-Identifier: MIT
"""Runs an aiohttp application until SIGTERM or SIGINT, and says on one line of stdout where it listens.

A port that is taken ends the process with the operating system's reason. At a signal open requests are dropped, not
waited for: a robot that hangs on purpose must still end at once.
"""

import asyncio
import signal

from aiohttp import web


async def serve(app, listen):
    host, _, port = listen.rpartition(":")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, int(port), backlog=1024, shutdown_timeout=0.1)
    await site.start()
    print(f"listening http://{host}:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await runner.cleanup()
