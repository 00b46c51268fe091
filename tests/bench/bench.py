#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Chasqui against what it replaces and what it could be replaced by; all in one run on one machine, so that ratios hold.

    bench.py                          everything; writes the tables of docs/benchmarks.md, docs/benchmarks.svg and the README's line
    bench.py --only list,download     these sections alone; prints, and keeps the numbers in build/bench/
    bench.py --short                  few and short rounds, to see that it works

Each section is a file, section_NAME.py: run(lab) answers its numbers. One that fails is said and the others go on. Ends with
1 when one failed or an answer was wrong. Loads only the loopback; leaves nothing behind but build/bench/ and the files named.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "system"))
os.environ.setdefault("CHASQUI_BUILD", "build")

import machine  # noqa: E402
import report  # noqa: E402
from lab import Lab  # noqa: E402

SECTIONS = ("list", "steady", "download", "growth", "queue", "rows", "adopt", "rounds", "cluster", "profile")
KEPT = ROOT / os.environ["CHASQUI_BUILD"] / "bench"


def options_read():
    parser = argparse.ArgumentParser(description="The benchmark.", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=__doc__)
    parser.add_argument("--only", default="", help="comma list of sections: " + ", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="few and short rounds")
    parser.add_argument("--rounds", type=int, help="of each measurement (5; 2 when short)")
    parser.add_argument("--seconds", type=int, help="of each load (3; 1 when short)")
    parser.add_argument("--connections", type=int, help="of the list section, instead of 1, 64 and 512")
    parser.add_argument("--docs", action="store_true", help="write the tables of these sections although not all ran")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory with logs and configuration")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.short else 5)
    options.seconds = options.seconds or (1 if options.short else 3)
    wanted = options.only.split(",") if options.only else SECTIONS
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}")
    options.sections = [name for name in SECTIONS if name in wanted]
    options.full = not options.only and not options.short
    return options


def errors_in(result):
    """Wrong answers anywhere in a section's numbers."""
    if isinstance(result, dict):
        own = result["errors"]["high"] if isinstance(result.get("errors"), dict) else 0
        return own + sum(errors_in(value) for key, value in result.items() if key != "errors")
    return 0


def sections_run(options, results):
    """Names of those that failed."""
    started, failed = time.monotonic(), []
    lab = Lab(options)
    try:
        for name in options.sections:
            section = importlib.import_module(f"section_{name}")
            lab.say(f"{section.TITLE} ({time.monotonic() - started:.0f} s)")
            try:
                results[name] = section.run(lab)
                (KEPT / f"{name}.json").write_text(json.dumps(results[name], indent=1))
            except Exception:  # the other sections' numbers are not lost by it
                traceback.print_exc()
                failed.append(name)
            lab.sections_end()
    finally:
        lab.close()
    lab.say(f"{time.monotonic() - started:.0f} s in all")
    return failed


def stop(number, _):
    """What was started is ended by lab.close() on the way out."""
    sys.exit(128 + number)


def main():
    options = options_read()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    KEPT.mkdir(parents=True, exist_ok=True)
    results = {"machine": {**machine.facts(), "rounds": options.rounds, "seconds": options.seconds, "short": options.short}}
    failed = sections_run(options, results)
    (KEPT / "machine.json").write_text(json.dumps(results["machine"], indent=1))
    if options.full or options.docs:
        report.write(results, ROOT)
    wrong = {name: errors_in(result) for name, result in results.items() if errors_in(result)}
    if failed or wrong:
        print(f"failed: {', '.join(failed) or 'no section'}; wrong answers: {wrong or 'none'}", file=sys.stderr)
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
