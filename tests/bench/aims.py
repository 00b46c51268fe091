# SPDX-License-Identifier: MIT
"""The aims, each as a ratio within the run, and whether this run reached them."""

from tables import rows


def number_of(result, *keys):
    for key in keys:
        result = result[key]
    return result["median"] if isinstance(result, dict) else result


AIMS = (  # section, what, aim as text, how it is read, what is enough
    ("list", "list, 64 connections: requests/s over HAProxy's", "≥ 0.6", lambda r: number_of(r, "contenders", "chasqui", "64", "of_haproxy", "rate"),
     lambda v: v >= 0.6),
    ("list", "list, 64 connections: p99 over HAProxy's", "≤ 2", lambda r: number_of(r, "contenders", "chasqui", "64", "of_haproxy", "p99_us"),
     lambda v: v <= 2),
    ("list", "list, 64 connections: requests/s over the old flow's", "≥ 7", lambda r: number_of(r, "contenders", "chasqui", "64", "of_php", "rate"),
     lambda v: v >= 7),
    ("list", "list, 1 connection: p50 over HAProxy's", "≤ 4", lambda r: number_of(r, "contenders", "chasqui", "1", "of_haproxy", "p50_us"),
     lambda v: v <= 4),
    ("download", "1 GiB: throughput over HAProxy's", "≥ 0.5", lambda r: number_of(r, "big", "ratio"), lambda v: v >= 0.5),
    ("download", "1 GiB: growth of any process, MiB", "≤ 16", lambda r: max(r["big"]["chasqui"]["growth_kib"].values()) / 1024, lambda v: v <= 16),
    ("queue", "batch: items accepted a second", "≥ 100,000", lambda r: r["batch"].get("accept_per_s"), lambda v: v >= 100_000),
    ("queue", "durable log-ins a second, robot calls included", "≥ 8,000", lambda r: r["batch"].get("drain_per_s"), lambda v: v >= 8_000),
    ("queue", "idle system: ms from a request to its robot call, p99", "< 20", lambda r: r["idle"]["p99_ms"], lambda v: v < 20),
    ("rounds", "rounds: places used while items wait, %", "≥ 95", lambda r: r["fullness"]["percent"], lambda v: v >= 95),
    ("growth", "list: most rows over fewest", "≥ 0.9", lambda r: number_of(list(r["rows"].values())[-1], "ratio"), lambda v: v >= 0.9),
    ("growth", "list: most robots over fewest", "≥ 0.9", lambda r: number_of(list(r["robots"].values())[-1], "ratio"), lambda v: v >= 0.9),
    ("growth", "list: with idle connections over without", "≥ 0.95", lambda r: number_of(list(r["idle"].values())[-1], "ratio"), lambda v: v >= 0.95),
)  # fmt: skip


def table(results):
    lines = []
    for section, what, aim, read, is_enough in AIMS:
        try:
            value = read(results[section])
        except (KeyError, TypeError):
            value = None
        told = "not measured" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
        lines.append((what, aim, told, "" if value is None else "reached" if is_enough(value) else "**not reached**"))
    return rows(("", "aim", "this run", ""), lines)
