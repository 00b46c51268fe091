# SPDX-License-Identifier: MIT
"""Downloads through Chasqui, with CURVE and on one host (a local socket), and through HAProxy: one file of 1 GiB, and 64 of 1 MiB at a time. How much the processes grow
while a big file passes is measured too: nobody may hold it in memory."""

import subprocess

from chasqui import without_curve
from haproxy import HAProxy
from load import Target
from robots import BIG_BYTES
from rounds import by_label, collect, figure, ratio
from usage import Meter, memory_kib, peak_forget

TITLE = "Downloads"
PARALLEL = 64
GROWING = ("broker", "dispatcher", "haproxy")


def big(lab, url, headers, labels):
    """One file, by curl: MiB/s, and by label how far memory went above where it was."""
    watched = {label: some for label, some in labels.items() if label in GROWING}
    for some in watched.values():
        for process in some:
            peak_forget(process)
    before = {label: sum(map(memory_kib, some)) for label, some in watched.items()}
    meter = Meter(labels).start()
    done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{speed_download}", *headers, url],
                          capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    assert done[:2] == ["200", str(BIG_BYTES)], done
    return {
        "mib_s": float(done[2]) / (1 << 20),
        "cpu_us": meter.per(BIG_BYTES >> 20),
        "growth_kib": {label: sum(memory_kib(one, "VmHWM") for one in some) - before[label] for label, some in watched.items()},
    }


def run(lab):
    chasqui, ids = lab.chasqui, lab.ids
    haproxy = lab.keep(HAProxy(lab.room("haproxy"), lab.robots, chasqui.robot_of(ids)))
    robots = {"robots": [one.process for one in lab.robots]}
    plain = without_curve(lab)
    sessions = {"chasqui": ids, "haproxy": ids, "plain": plain.log_in(len(ids))}
    labels = {"chasqui": chasqui.labels(), "haproxy": {"haproxy": [haproxy.process], **robots}, "plain": plain.labels()}
    through = "/api/v1/app/buzon/download?session_id={id}&file_token=%s"
    paths = {"chasqui": through, "haproxy": "/files/%s?session_id={id}", "plain": through}
    url = {"chasqui": chasqui.api_url(), "haproxy": haproxy.url, "plain": plain.api_url()}
    token = {"chasqui": chasqui.token, "haproxy": None, "plain": plain.token}
    rounds = min(3, lab.options.rounds)

    def one_big(name):
        headers = ["-H", f"Authorization: Bearer {token[name]}"] if token[name] else []
        return big(lab, url[name] + (paths[name] % "big").format(id=sessions[name][0]), headers, labels[name])

    small = {name: Target(name, url[name], lab.paths(paths[name] % "small", sessions[name]), labels[name], token[name]) for name in paths}

    def many_small(name):
        meter = Meter(labels[name]).start()
        told = small[name].load(PARALLEL, lab.options.seconds)
        return {**told, "cpu_us": meter.per(told["requests"]), "memory_kib": meter.memory()}

    result = {}
    for what, measure, keys in (("big", one_big, ("mib_s",)), ("small", many_small, ("mib_s", "p50_us", "p99_us", "errors"))):
        for name in paths:
            measure(name)
        taken = collect(rounds, list(paths), measure,
                        lambda n, name, told, what=what: lab.say(f"  {what} round {n + 1} {name:<8}{told['mib_s']:8,.0f} MiB/s  "
                                                                 f"grew {told.get('growth_kib', '-')}"))  # fmt: skip
        result[what] = {name: {key: figure(taken[name], key) for key in keys} | {"cpu_us": by_label(taken[name], "cpu_us")} for name in paths}
        for name in ("chasqui", "plain"):
            result[what][name]["ratio"] = ratio(taken[name], taken["haproxy"], "mib_s")
        if what == "big":
            for name in paths:
                result[what][name]["growth_kib"] = {
                    label: max(one["growth_kib"][label] for one in taken[name]) for label in taken[name][0]["growth_kib"]
                }
    return result
