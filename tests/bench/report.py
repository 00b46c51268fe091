# SPDX-License-Identifier: MIT
"""Puts a run's numbers into docs/benchmarks.md, docs/several-hosts.md and README.md: only what stands between `<!-- bench: NAME -->` and
`<!-- end -->` is written, the words around it are people's."""

import re

import aims
import chart
import tables

TABLES = {  # marker: (section, function)
    "list": ("list", tables.listing),
    "ratios": ("list", tables.ratios),
    "cpu": ("list", tables.cpu),
    "memory": ("list", tables.memory),
    "steady": ("steady", tables.steady),
    "rows": ("rows", tables.row_counts),
    "adopt": ("adopt", tables.adopt),
    "download": ("download", tables.download),
    "growth": ("growth", tables.growth),
    "queue": ("queue", tables.queue),
    "logins": ("queue", tables.logins),
    "rounds": ("rounds", tables.rounds),
    "cluster": ("cluster", tables.cluster),
    "profile": ("profile", tables.profile),
}


def in_short(results):
    """A line for the README."""
    one = results["list"]["contenders"]["chasqui"]["64"]
    return (f"On {results['machine']['cores']} cores for everything (load, proxy, database and robots), 64 connections: {one['rate']['median']:,.0f} "
            f"lists/s, p50 {one['p50_us']['median'] / 1000:.1f} ms, p99 {one['p99_us']['median'] / 1000:.1f} ms; {one['of_php']['rate']['median']:.1f} × "
            f"a bare PHP-FPM application that does the same look-up, and {one['of_haproxy']['rate']['median']:.2f} × HAProxy with a map, which asks no database.")  # fmt: skip


def fill(text, made):
    for name, body in made.items():
        pattern = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- end -->)", re.S)
        text = pattern.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    return text


def write(results, root):
    made = {"machine": tables.machine(results["machine"]), "aims": aims.table(results)}
    made |= {name: make(results[section]) for name, (section, make) in TABLES.items() if section in results}
    if "list" in results:
        made["short"] = in_short(results)
        chart.draw(results["list"], root / "docs" / "benchmarks.svg")
    for path in (root / "docs" / "benchmarks.md", root / "docs" / "several-hosts.md", root / "README.md"):
        path.write_text(fill(path.read_text(), made))
