# SPDX-License-Identifier: MIT
"""Fixtures that every conftest.py takes from here. The database server and the portal live for the whole run, everything else for one test."""

import os

import pytest
from . import Galera, MariaDB, Portal, Robot, System, galera_missing, is_sanitized, preload, program


def pytest_configure(config):
    os.environ.setdefault("CHASQUI_BUILD", "build")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that failed shows the last lines of what its processes said."""
    report = (yield).get_result()
    if report.failed:
        for system in getattr(item, "systems", ()):
            for process in (*system.processes, *system.robots.values()):
                report.sections.append((f"{system.directory.name}/{process.log.name}", process.tail(60)))


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory):
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    yield server.start()
    server.close()


@pytest.fixture
def mariadb(mariadb_server):
    """The shared server, running. A test may kill, pause and restart it."""
    yield mariadb_server.ensure_running()
    mariadb_server.ensure_running()


@pytest.fixture(scope="session")
def galera_cluster(tmp_path_factory):
    why = galera_missing()
    if why:
        pytest.skip(f"no Galera cluster: {why}")
    cluster = Galera(tmp_path_factory.mktemp("galera"))
    try:
        cluster.start()
    except AssertionError as why:
        cluster.close()
        pytest.skip(f"no Galera cluster: it does not start: {why}")
    yield cluster
    cluster.close()


@pytest.fixture
def galera(galera_cluster):
    """Three nodes, whole. A test may kill, pause and cut them."""
    yield galera_cluster.ensure_whole()
    galera_cluster.ensure_whole()


@pytest.fixture
def database(mariadb):
    """An empty database with a user."""
    made = mariadb.create_database()
    yield made
    mariadb.ensure_running().drop_database(made)


@pytest.fixture(scope="session")
def portal_server(tmp_path_factory):
    server = Portal(tmp_path_factory.mktemp("portal"))
    yield server.start()
    server.stop()


@pytest.fixture
def portal(portal_server):
    """The government's site, knowing nobody. The teardown of `system` looks at its violations."""
    if not portal_server.alive():
        portal_server.start()
    portal_server.resume()
    portal_server.reset()
    return portal_server


@pytest.fixture
def robot_factory(tmp_path, portal):
    """robot_factory("r1", capacity=3, ...) starts a robot that no Chasqui knows; see harness.Robot."""
    made = []

    def make(name=None, *, with_portal=True, **options):
        made.append(Robot(tmp_path, name or f"r{len(made) + 1}", portal if with_portal else None, **options))
        return made[-1].start()

    yield make
    for robot in made:
        robot.stop()


@pytest.fixture
def make_system(request, tmp_path, mariadb, portal):
    """make_system(robots=1, ready=True, **options) -> System; options: see harness.System. Several may run at once, on
    the same database with database=other.database."""
    if not program("chasqui").exists():
        pytest.fail(f"{program('chasqui')} is not built")
    systems = request.node.systems = []
    databases = []

    def make(*, robots=1, ready=True, database=None, capacity=10, robot_options=None, **options):
        if database is None:
            database = mariadb.create_database()
            databases.append(database)
        system = System(tmp_path / f"chasqui-{len(systems) + 1}", database, portal, **options)
        systems.append(system)
        system.setup()
        for _ in range(robots):
            system.add_robot(capacity=capacity, **(robot_options or {}))
        if ready:
            system.start().wait_ready().wait_probed()
        return system

    yield make
    mariadb.ensure_running()
    wrong = [line for system in systems for line in system.close()]
    for database in databases:
        mariadb.drop_database(database)
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def system(make_system):
    """One process of each kind and one robot, ready."""
    return make_system()


@pytest.fixture
def preloaded(tmp_path):
    """preloaded("clock", C_SOURCE) -> {"LD_PRELOAD": library}, for the environment of a process that is to live in another world."""
    if is_sanitized():
        pytest.skip("a sanitizer does not share LD_PRELOAD")
    return lambda name, source: {"LD_PRELOAD": str(preload.compiled(tmp_path, name, source))}
