#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is made of db/state.def. `make docs` runs it: the tables go into docs/ARCHITECTURE.md,
the picture's source goes to standard output."""
import collections, pathlib, re  # noqa: E401

DOC, BEGIN, END = pathlib.Path("docs/ARCHITECTURE.md"), "<!-- made of db/state.def by make docs -->\n", "<!-- end -->"
TABLE = pathlib.Path("db/state.def").read_text().partition("*/")[2]
Machine = collections.namedtuple("Machine", "name table column what")
Event = collections.namedtuple("Event", "machine name before after guard place text")
machines = [Machine(*m) for m in re.findall(r'^MACHINE\((\w+), "(\w+)", "(\w+)", "(.*)"\)', TABLE, re.M)]
FIELDS = r'(\w+), (\w+), "(.*?)", "(.*?)", (\w+),.*,\s+"([^"]*)",\s+"([^"]*)"'
rows = [re.fullmatch(FIELDS, row, re.S) for row in re.findall(r"^EVENT\((.*?)\)$", TABLE, re.M | re.S)]
assert all(rows) and len(rows) == len(re.findall("^EVENT", TABLE, re.M)), "a row of state.def is not written like the others"
events = [Event(*row.groups()) for row in rows]

# Every text of SQL in the sources: (file, text, events that it names).
texts, used = [], collections.defaultdict(set)
for file in sorted(f for folder in ("dispatcher", "db", "ctl") for f in pathlib.Path(folder).rglob("*.c")):
    source = file.read_text()
    for text in re.findall(r'"(?:[^"\\]|\\.)*"(?:\s*(?:[A-Z_]+(?:\("\w+"\))?\s*)?"(?:[^"\\]|\\.)*")*', source):
        texts.append((file, re.sub(r'"\s*"', "", text)))
    for event in re.findall(r"\{(?:become|new) ([\w.]+)", source) + re.findall(r'session_close_row\(db, "(\w+)"', source):
        used[event if "." in event else f"session.{event}"].add(file.name if file.parent.name == "store" else str(file))


def tables():
    made = ""
    for m in machines:
        made += f"\n**{m.name}** (`{m.table}.{m.column}`). {m.what}\n\n"
        made += "| from | event | to | place | what happened | where |\n|---|---|---|---|---|---|\n"
        for e in (e for e in events if e.machine == m.name):
            where = ", ".join(f"`{f}`" for f in sorted(used[f"{m.name}.{e.name}"]))
            cells = [", ".join(e.before.split()) or "–", e.name, ", ".join(e.after.split()), e.place, e.text, where]
            made += f"| {' | '.join(cells)} |\n"
    return made + "\n"


def picture():
    arrows = collections.defaultdict(list)
    for e in events:
        for a in e.before.split() or [""]:
            for b in e.after.split():
                arrows[f"{e.machine}_{a} -> {e.machine}_{b}"].append(e.name)
    out = "digraph {\nnode [shape=box, style=rounded, fontname=sans]\nedge [fontname=sans, fontsize=9]\n"
    for m in machines:
        out += f"subgraph cluster_{m.name} {{\nlabel={m.name}\n"
        out += f"{m.name}_ [shape=point]\n" * any(e.machine == m.name and not e.before for e in events)
        out += "".join(f"{m.name}_{s} [label={s}]\n" for s in re.findall(rf"STATE\({m.name}, (\w+)", TABLE)) + "}\n"
    return out + "".join(arrow + ' [label="' + "\\n".join(names) + '"]\n' for arrow, names in arrows.items()) + "}"


if __name__ == "__main__":
    before, _, rest = DOC.read_text().partition(BEGIN)
    DOC.write_text(before + BEGIN + tables() + END + rest.partition(END)[2])
    print(picture())
