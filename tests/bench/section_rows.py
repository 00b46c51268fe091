# SPDX-License-Identifier: MIT
"""What a log-in costs the database, in rows and bytes of log: as the unit test counts that holds these bounds, with more places held."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Rows of a log-in"
HELD = (5_000, 50_000)
LINE = re.compile(r"^(?P<what>a .*), (?P<held>\d+) (?:places held|before it): read (?P<read>[\d.]+), inserted (?P<inserted>[\d.]+), "
                  r"changed (?P<changed>[\d.]+), deleted (?P<deleted>[\d.]+), bytes of redo (?P<redo>[\d.]+)$", re.M)  # fmt: skip


def run(lab):
    build = Path(os.environ["CHASQUI_BUILD"]).resolve().relative_to(ROOT)
    program = f"{build}/tests/unit/test_store_rows"
    subprocess.run(["make", "--no-print-directory", f"BUILD={build}", program], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    told = {}
    for held in HELD:
        done = subprocess.run([program], cwd=ROOT, env={**os.environ, "ROWS_HELD": str(held)}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        for line in LINE.finditer(done.stdout):
            told[f"{line['what']}, {line['held']}"] = line.groupdict()
    for one in told.values():
        lab.say(f"  {one['what']}, {one['held']}: read {one['read']}, written {sum(float(one[key]) for key in ('inserted', 'changed', 'deleted')):.1f}")
    return list(told.values())
