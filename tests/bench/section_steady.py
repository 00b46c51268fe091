# SPDX-License-Identifier: MIT
"""A minute of lists over ten thousand sessions, so that what is written and swept beside them falls into it: nobody may stand still."""

from chasqui import Chasqui
from load import Target
from section_list import LIST

TITLE = "A minute of lists"
CONNECTIONS, SESSIONS, SECONDS = 64, 10_000, 60


def run(lab):
    chasqui = lab.keep(Chasqui(lab.room("steady"), lab.mariadb, lab.robots, capacity=SESSIONS))
    chasqui.fill(SESSIONS)
    target = Target("chasqui", chasqui.api_url(), lab.paths(LIST, chasqui.some_ids(SESSIONS)), chasqui.labels(), chasqui.token)
    target.load(CONNECTIONS, 2)
    told = target.load(CONNECTIONS, 6 if lab.options.short else SECONDS)
    lab.say(f"  {told['rate']:,.0f} lists/s  p50 {told['p50_us'] / 1000:.2f} ms  p99.9 {told['p999_us'] / 1000:.2f} ms  longest {told['max_us'] / 1000:.1f} ms")
    lab.drop(chasqui)
    return {**told, "sessions": SESSIONS, "p999_over_p50": told["p999_us"] / told["p50_us"]}
