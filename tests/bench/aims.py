# SPDX-License-Identifier: MIT
"""The aims, each as a ratio within the run, and whether this run reached them."""

from tables import rows


def number_of(result, *keys):
    for key in keys:
        result = result[key]
    return result["median"] if isinstance(result, dict) else result


def of(other, key):
    return lambda r: number_of(r, "contenders", "chasqui", "64", f"of_{other}", key)


def at_least(n):
    return f"≥ {n:,}", lambda v: v >= n


def at_most(n):
    return f"≤ {n:,}", lambda v: v <= n


def last(r, what):
    return number_of(list(r[what].values())[-1], "ratio")


def written(r):
    return sum(r["batch"]["database"][key] for key in ("rows inserted", "rows updated", "rows deleted"))


def read_by_login(r):
    """As the unit test counts it, with the most places held."""
    return float([one for one in r if one["what"] == "a log-in of a batch"][-1]["read"])


AIMS = (  # section, what, (aim as text, what is enough), how it is read
    ("list", "list, 64 connections: processor time over HAProxy's, the robots' aside", at_most(2.2), of("haproxy", "own_cpu_us")),
    ("list", "list, 64 connections: requests/s over HAProxy's", at_least(0.5), of("haproxy", "rate")),
    ("list", "list, 64 connections: p99 over HAProxy's", at_most(2), of("haproxy", "p99_us")),
    ("list", "list, 1 connection: p50 over HAProxy's", at_most(4), lambda r: number_of(r, "contenders", "chasqui", "1", "of_haproxy", "p50_us")),
    ("list", "list, 64 connections: requests/s over nginx with Lua, which asks the database too", at_least(1), of("lua", "rate")),
    ("list", "the same, processor time", at_most(1), of("lua", "own_cpu_us")),
    ("list", "list, 64 connections: requests/s over Node", at_least(1), of("node", "rate")),
    ("list", "the same, processor time", at_most(1), of("node", "own_cpu_us")),
    ("list", "list, 64 connections: requests/s over bare PHP", at_least(1), of("php", "rate")),
    ("list", "the same, processor time", at_most(1), of("php", "own_cpu_us")),
    ("steady", "a minute of lists over 10,000 sessions: p99.9 over p50", at_most(10), lambda r: r["p999_over_p50"]),
    ("queue", "log-ins by execute a second, 64 at a time", at_least(3000), lambda r: number_of(next(iter(r["execute"].values())), "rate")),
    ("queue", "the same with 50,000 places held, over few held", at_least(0.9), lambda r: last(r, "execute")),
    ("queue", "batch: durable log-ins a second, robot calls included", at_least(5000), lambda r: number_of(r, "batch", "drain_per_s")),
    ("queue", "batch: rows written for each log-in", at_most(5), written),
    ("rows", "batch: rows read by each log-in", at_most(20), read_by_login),
    ("queue", "the same with all that is counted and asked beside it", at_most(20), lambda r: r["batch"]["database"]["rows read"]),
    ("queue", "batch: items accepted a second", at_least(100_000), lambda r: r["batch"].get("accept_per_s")),
    ("queue", "idle system: ms from a request to its robot call, p99", at_most(20), lambda r: r["idle"]["p99_ms"]),
    ("adopt", "10,000 first uses of Laravel's sessions, s", at_most(5), lambda r: r["first_uses"]["seconds"]),
    ("adopt", "`chasqui adopt`: sessions a second", at_least(10_000), lambda r: r["at_once"]["rate"]),
    ("rounds", "rounds: places used while items wait, %", at_least(95), lambda r: r["fullness"]["percent"]),
    ("download", "1 GiB with CURVE: throughput over HAProxy's", at_least(0.6), lambda r: number_of(r, "big", "chasqui", "ratio")),
    ("download", "1 GiB over a local socket: throughput over HAProxy's", at_least(0.8), lambda r: number_of(r, "big", "plain", "ratio")),
    ("download", "64 files of 1 MiB with CURVE: throughput over HAProxy's", at_least(0.5), lambda r: number_of(r, "small", "chasqui", "ratio")),
    ("download", "64 files of 1 MiB over a local socket: throughput over HAProxy's", at_least(0.5), lambda r: number_of(r, "small", "plain", "ratio")),
    ("download", "1 GiB: growth of any process, MiB", at_most(16), lambda r: max(r["big"]["chasqui"]["growth_kib"].values()) / 1024),
    ("growth", "idle connection: KiB in the broker, with 10,000", at_most(20), lambda r: r["idle_connection_kib"]),
    ("growth", "list: most rows over fewest", at_least(0.95), lambda r: last(r, "rows")),
    ("growth", "list: most robots over fewest", at_least(0.95), lambda r: last(r, "robots")),
    ("growth", "list: four dispatchers over one", at_least(0.9), lambda r: last(r, "dispatchers")),
    ("growth", "list: with idle connections over without", at_least(0.95), lambda r: last(r, "idle")),
)  # fmt: skip


def table(results):
    lines = []
    for section, what, (aim, is_enough), read in AIMS:
        try:
            value = read(results[section])
        except (KeyError, TypeError):
            value = None
        told = "not measured" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
        lines.append((what, aim, told, "" if value is None else "reached" if is_enough(value) else "**not reached**"))
    return rows(("", "aim", "this run", ""), lines)
