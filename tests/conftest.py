# SPDX-License-Identifier: MIT
"""How tests are dealt out when several run at once (`make test`, `pytest -n 3 --dist loadgroup`).

Each worker has a MariaDB, a portal, a browser and a slice of ports of its own, so tests are dealt out one by one. Tests with the
same mark `xdist_group` run on one worker, one after another. The browser tests are such a group, since they share a house. The
groups are dealt out first, then the tests that are marked `long`, the longest first: no worker ends with one of them alone.
"""

import pytest


def rank(item):
    long = item.get_closest_marker("long")
    return (not item.get_closest_marker("xdist_group"), -long.args[0] if long else 0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """In a worker of xdist only: by itself, pytest keeps the order of the files."""
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.xdist_group("browser"))
    if hasattr(config, "workerinput"):
        items.sort(key=rank)
