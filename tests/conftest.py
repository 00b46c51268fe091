# SPDX-License-Identifier: MIT
"""How tests are dealt out when several run at once (`make test`, `pytest -n 3 --dist loadgroup`).

Each worker has a MariaDB, a portal, a browser and a slice of ports of its own, so tests are dealt out one by one. Tests with the
same mark `xdist_group` run on one worker, one after another. The browser tests are such a group, since they share a house. The
group and the files in LONG are dealt out first, so that no worker ends with one of them alone.
"""

import pytest

LONG = ["test_soak.py", "test_run.py", "test_chaos.py", "test_crash.py", "test_standstill.py", "test_schedule.py", "test_drain.py"]


def rank(item):
    return -1 if item.get_closest_marker("xdist_group") else LONG.index(item.path.name) if item.path.name in LONG else len(LONG)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """In a worker of xdist only: by itself, pytest keeps the order of the files."""
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.xdist_group("browser"))
    if hasattr(config, "workerinput"):
        items.sort(key=rank)
