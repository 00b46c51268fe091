#!/usr/bin/python3
"""Chasqui against what it replaces and what it could be replaced by; all in one run on one machine, so that ratios hold.

    bench.py                          everything; writes docs/benchmarks.md and docs/benchmarks.svg
    bench.py --only list,download     these sections alone; prints, and keeps the numbers in build/bench/
    bench.py --short                  few and short rounds, to see that it works

Each section is a file, section_NAME.py: run(lab) answers its numbers. Ends with 1 when an answer was wrong.
Loads only the loopback; leaves nothing behind but build/bench/ and the two files in docs/.
"""

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "system"))
os.environ.setdefault("CHASQUI_BUILD", "build")

from lab import Lab  # noqa: E402

SECTIONS = ("list", "download", "growth", "queue", "profile")


def options_read():
    parser = argparse.ArgumentParser(description="The benchmark.", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=__doc__)
    parser.add_argument("--only", default="", help="comma list of sections: " + ", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="few and short rounds")
    parser.add_argument("--rounds", type=int, help="of each measurement (5; 2 when short)")
    parser.add_argument("--seconds", type=int, help="of each load (3; 1 when short)")
    parser.add_argument("--connections", type=int, help="of the list section, instead of 1, 64 and 512")
    parser.add_argument("--docs", action="store_true", help="write docs/ although not all sections ran")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory with logs and configuration")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.short else 5)
    options.seconds = options.seconds or (1 if options.short else 3)
    options.sections = [name for name in SECTIONS if name in options.only.split(",")] if options.only else list(SECTIONS)
    options.full = not options.only
    if not options.sections:
        parser.error(f"no such section: {options.only}")
    return options


def main():
    options = options_read()
    started = time.monotonic()
    results = {}
    lab = Lab(options)
    try:
        for name in options.sections:
            section = importlib.import_module(f"section_{name}")
            lab.say(f"{section.TITLE} ({time.monotonic() - started:.0f} s)")
            results[name] = section.run(lab)
    finally:
        lab.close()
    kept = ROOT / os.environ["CHASQUI_BUILD"] / "bench"
    kept.mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        (kept / f"{name}.json").write_text(json.dumps(result, indent=1))
    lab.say(f"{time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
