# SPDX-License-Identifier: MIT
"""The list path: Chasqui, HAProxy with a map, and three that ask a database: the old flow in PHP, nginx with Lua, Node."""

from chasqui import without_curve
from haproxy import HAProxy
from load import Target
from luaflow import LuaFlow, lua_missing
from nodeflow import PACKAGES, NodeFlow
from npm import npm_install
from oldflow import OldFlow
from rounds import by_label, collect, figure, ratio
from usage import Meter

TITLE = "The list path"
CONNECTIONS = (1, 64, 512)
LIST = "/api/v1/app/buzon/list?session_id={id}&page=1"


def targets(lab):
    chasqui, ids = lab.chasqui, lab.ids
    paths = lab.paths(LIST, ids)
    haproxy = lab.keep(HAProxy(lab.room("haproxy"), lab.robots, chasqui.robot_of(ids)))
    old = lab.keep(OldFlow(lab.room("oldflow"), chasqui.database))
    robots = {"robots": [one.process for one in lab.robots]}
    found = {
        "chasqui": Target("chasqui", chasqui.api_url(), paths, chasqui.labels(), chasqui.token),
        "haproxy": Target("haproxy", haproxy.url, paths, {"haproxy": [haproxy.process], **robots}),
        "php": Target("php", old.url, paths, {"php-fpm": [old.fpm], "nginx": [old.nginx], "mariadb": [lab.mariadb.process], **robots}),
    }
    for name, missing, make in (
        ("lua", lua_missing(), lambda: LuaFlow(lab.room("luaflow"), chasqui.database, lab.robots)),
        ("node", npm_install(*PACKAGES), lambda: NodeFlow(lab.room("nodeflow"), chasqui.database)),
    ):
        if missing:
            lab.say(f"  {name} is not measured: {missing}")
            continue
        flow = lab.keep(make())
        found[name] = Target(name, flow.url, paths, {name: [flow.process], "mariadb": [lab.mariadb.process], **robots})
    if lab.options.full:
        plain = without_curve(lab)
        found["plain"] = Target("plain", plain.api_url(), lab.paths(LIST, plain.log_in(len(ids))), plain.labels(), plain.token)
    return found


def run(lab):
    found = targets(lab)
    for target in found.values():
        target.load(64, 1)  # connections, statements and caches are there
    result = {"contenders": {}}
    for connections in CONNECTIONS if not lab.options.connections else (lab.options.connections,):
        names = list(found) if connections == 64 else [name for name in found if name != "plain"]

        def measure(name, connections=connections):
            meter = Meter(found[name].processes).start()
            told = found[name].load(connections, lab.options.seconds)
            cpu_us = meter.per(told["requests"])
            own_us = sum(us for label, us in cpu_us.items() if label != "robots")
            return {**told, "cpu_us": cpu_us, "own_cpu_us": own_us, "memory_kib": meter.memory()}

        def say(number, name, told, connections=connections):
            lab.say(f"  list c={connections:<3} round {number + 1} {name:<8}{told['rate']:>9,.0f}/s  p50 {told['p50_us'] / 1000:7.2f} ms  "
                    f"p99 {told['p99_us'] / 1000:7.2f} ms  errors {told['errors']}  cpu us "
                    + " ".join(f"{label} {us:.1f}" for label, us in told["cpu_us"].items()))  # fmt: skip

        taken = collect(lab.options.rounds, names, measure, say)
        for name in names:
            one = result["contenders"].setdefault(name, {})[str(connections)] = {
                key: figure(taken[name], key) for key in ("rate", "p50_us", "p99_us", "max_us", "own_cpu_us", "errors")
            }
            one["cpu_us"] = by_label(taken[name], "cpu_us")
            one["memory_kib"] = by_label(taken[name], "memory_kib")
            for other in names:
                if other != name and name == "chasqui":
                    one[f"of_{other}"] = {key: ratio(taken[name], taken[other], key) for key in ("rate", "p50_us", "p99_us", "own_cpu_us")}
    return result
