# SPDX-License-Identifier: MIT
"""Results as Markdown. Each function makes one table of docs/benchmarks.md from its section's numbers."""

NAMES = {"chasqui": "Chasqui", "plain": "Chasqui, local socket", "haproxy": "HAProxy", "php": "old flow (PHP-FPM)", "lua": "nginx with Lua",
         "node": "Node (undici, two processes)"}  # fmt: skip
LABELS = ("broker", "dispatcher", "healthd", "mariadb", "haproxy", "php-fpm", "nginx", "lua", "node", "robots")


def rows(head, lines):
    made = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(made + ["| " + " | ".join(map(str, line)) + " |" for line in lines])


def number(figure, unit=1.0, digits=0):
    """median (lowest - highest)."""
    mid, low, high = (figure[key] / unit for key in ("median", "low", "high"))
    return f"{mid:,.{digits}f} ({low:,.{digits}f} - {high:,.{digits}f})"


def times(figure):
    return f"{figure['median']:.2f} ({figure['low']:.2f} - {figure['high']:.2f})"


def mib(kib):
    return f"{kib / 1024:,.1f}"


def machine(facts):
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return rows(("", ""), [
        ("run", f"{facts['when']}, commit {facts['commit']}, {facts['rounds']} rounds of {facts['seconds']} s"
                + (" (short)" if facts["short"] else "")),
        ("machine", f"{facts['cpu']}, {facts['cores']} cores for everything, {facts['memory_gib']} GiB; load before the run {facts['load_before']:.1f}"),
        ("system", f"{facts['system']}, Linux {facts['kernel']}"),
        ("versions", versions),
    ])  # fmt: skip


def listing(result):
    lines = []
    for name, points in result["contenders"].items():
        for connections, one in points.items():
            lines.append((NAMES[name], connections, number(one["rate"]), number(one["p50_us"], 1000, 2), number(one["p99_us"], 1000, 2),
                          int(one["errors"]["high"])))  # fmt: skip
    return rows(("contender", "connections", "requests/s", "p50 ms", "p99 ms", "errors"), sorted(lines, key=lambda line: int(line[1])))


def ratios(result):
    lines = []
    for connections, one in result["contenders"]["chasqui"].items():
        for other in ("haproxy", "php", "lua", "node"):
            if of := one.get(f"of_{other}"):
                lines.append((NAMES[other], connections, times(of["rate"]), times(of["p50_us"]), times(of["p99_us"]), times(of["own_cpu_us"])))
    return rows(("Chasqui over", "connections", "requests/s", "p50", "p99", "processor time without the robots'"), lines)


def by_process(result, key, unit, digits):
    """Contenders at 64 connections, a column a process."""
    lines = []
    for name, points in result["contenders"].items():
        for connections, one in points.items():
            values = one[key]
            lines.append((NAMES[name], connections, *(f"{values[label] / unit:,.{digits}f}" if label in values else "" for label in LABELS),
                          f"{sum(values.values()) / unit:,.{digits}f}"))  # fmt: skip
    return rows(("contender", "connections", *LABELS, "sum"), sorted(lines, key=lambda line: int(line[1])))


def cpu(result):
    return by_process(result, "cpu_us", 1, 1)


def memory(result):
    return by_process(result, "memory_kib", 1024, 1)


def download(result):
    lines = []
    for what, title in (("big", "one file of 1 GiB"), ("small", "64 files of 1 MiB at a time")):
        for name in ("chasqui", "plain", "haproxy"):
            one = result[what][name]
            cpu_us = ", ".join(f"{label} {us:,.0f}" for label, us in one["cpu_us"].items() if us >= 10)
            grew = ", ".join(f"{label} {mib(kib)}" for label, kib in one.get("growth_kib", {}).items())
            lines.append((title, NAMES[name], number(one["mib_s"]), times(one["ratio"]) if "ratio" in one else "", cpu_us, grew))
    return rows(("", "contender", "MiB/s", "over HAProxy", "CPU, µs for each MiB", "growth, MiB"), lines)


def growth(result):
    titles = {"rows": "rows in `portal_jobs`", "robots": "robots", "dispatchers": "dispatchers", "idle": "idle connections"}
    lines = []
    for what in titles:
        for point, one in result[what].items():
            memory_kib = ", ".join(f"{label} {mib(kib)}" for label, kib in one["memory_kib"].items() if label != "robots")
            lines.append((titles[what], f"{int(point):,}", number(one["rate"]), times(one["ratio"]), number(one["p99_us"], 1000, 1),
                          f"{sum(one['cpu_us'].values()):.1f}: {spent(one['cpu_us'])}", memory_kib, int(one["errors"]["high"])))  # fmt: skip
    return rows(("of", "there are", "lists/s", "over the first", "p99 ms", "CPU, µs", "memory, MiB", "errors"), lines)


def steady(result):
    return rows(("sessions", "lists/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "p99.9 over p50", "errors"), [
        (f"{result['sessions']:,}", f"{result['rate']:,.0f}", *(f"{result[key] / 1000:.2f}" for key in ("p50_us", "p99_us", "p999_us", "max_us")),
         f"{result['p999_over_p50']:.1f} ×", result["errors"]),
    ])  # fmt: skip


def row_counts(result):
    lines = [(one["what"], f"{int(one['held']):,}", *(f"{float(one[key]):.1f}" for key in ("read", "inserted", "changed", "deleted")),
              f"{float(one['redo']):,.0f}") for one in result]  # fmt: skip
    return rows(("", "held before", "rows read", "inserted", "changed", "deleted", "bytes of log"), sorted(lines, key=lambda line: line[0]))


def adopt(result):
    uses, once = result["first_uses"], result["at_once"]
    return rows(("", ""), [
        (f"{uses['n']:,} first uses, 64 at a time", f"{uses['seconds']:.1f} s"),
        (f"`chasqui adopt` of {once['n']:,}", f"{once['rate']:,.0f} sessions/s"),
    ])  # fmt: skip


def spent(cpu_us):
    return ", ".join(f"{label} {us:,.0f}" for label, us in cpu_us.items() if us >= 1)


def queue(result):
    execute, batch = result["execute"], result["batch"]
    lines = []
    for held, one in execute.items():
        over = "" if "ratio" not in one else times(one["ratio"]) + " over the first"
        lines.append((f"log-ins by execute, 64 at a time, {int(held):,} places held before", "Chasqui", number(one["rate"]) + " log-ins/s", over,
                      spent(one["cpu_us"])))  # fmt: skip
    lines.append((f"batches of {batch['items']:,} and {batch['drained']:,}", "Chasqui", f"{batch['accept_per_s']:,.0f} items/s",
                  number(batch["drain_per_s"]) + " log-ins/s, robot calls included", spent(batch["cpu_us"])))  # fmt: skip
    kept = ", ".join(f"{label} {mib(kib)}" for label, kib in batch["waiting_kib"].items())
    lines.append(("10,000 waiting items", "Chasqui", f"MiB: {kept}", "", ""))
    idle = result["idle"]
    lines.append((f"idle, and {idle['n']} jobs one after another", "Chasqui", f"{idle['queries_per_s']:.1f} queries/s when idle",
                  f"request to robot call: p50 {idle['p50_ms']:.1f} ms, p99 {idle['p99_ms']:.1f} ms", ""))  # fmt: skip
    for name, title in (("beanstalkd", "beanstalkd, `-f 0`"), ("bullmq", "BullMQ, Redis with `appendfsync always`")):
        one = result["others"][name]
        if "missing" in one:
            lines.append(("jobs that do nothing", title, f"not measured: {one['missing']}", "", ""))
        else:
            lines.append(("jobs that do nothing", title, f"{one['accept_per_s']:,.0f} jobs/s", f"{one['drain_per_s']:,.0f} jobs/s", ""))
    return rows(("", "contender", "accepted", "drained", "CPU, µs for each"), lines)


def rounds(result):
    fast, slow = result["at_once"], result["fullness"]
    return rows(("", "", "CPU, µs for each"), [
        (f"{fast['n']:,} rounds, robots that answer at once", f"{fast['rate']:,.0f} rounds/s", spent(fast["cpu_us"])),
        (f"{slow['n']:,} rounds over {slow['places']} places, log-ins of 2-8 s, three dispatchers",
         f"places used while items wait: {slow['percent']:.1f} %, at the lowest {slow['lowest']:.0f} %", ""),
    ])  # fmt: skip


def cluster(result):
    if "missing" in result:
        return f"Not measured: {result['missing']}."
    lines = []
    for what in next(iter(result.values())):
        first = None
        for title, told in result.items():
            one = told[what]
            cpu_us = one["cpu_us"]["databases"]
            first = first or cpu_us
            sent = "–" if one["sent_bytes"] is None else f"{one['sent_bytes']:,.0f}"
            lines.append((what, title, f"{one['rate']:,.0f}", f"{cpu_us:,.0f}", f"{cpu_us / first:.2f} ×", sent, int(one["errors"])))
    return rows(("operation", "database", "a second", "CPU of all databases, µs", "over one server", "bytes sent to the others", "errors"), lines)


def watched(name, one):
    """Rows of a process that perf looked at."""
    by_library = ", ".join(f"{library} {percent:.0f} %" for library, percent in one["libraries"][:9])
    by_function = ", ".join(f"`{symbol}` {percent:.1f} %" for percent, _, symbol in one["symbols"][:10])
    return [(name, "processor time by library", by_library), (name, "by function", by_function)]


def logins(result):
    told = result["batch"]["profile"]
    counts = ", ".join(f"{title} {n:,.1f}" for title, n in result["batch"]["database"].items())
    parts = [("mariadb", "for each log-in", counts)]
    for name in ("mariadb", "dispatcher"):
        parts += watched(name, told[name]) if name in told else []
    return rows(("process", "", ""), parts)


def profile(result):
    parts = []
    for name, one in result.items():
        if "libraries" in one:
            parts += watched(name, one)
        if "calls" in one:
            parts.append((name, "system calls for each list", ", ".join(f"{call} {n:.2f}" for call, n in one["calls"].items())))
    return rows(("process", "", ""), parts) if parts else "Neither perf nor strace was there."
