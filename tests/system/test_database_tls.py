# SPDX-License-Identifier: MIT
"""A database that wants TLS: who it is is verified, who we are is shown, and what is wrong is named."""

import pytest
from harness import MariaDB
from harness.certificates import make_ca, make_cert


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a certificate for 127.0.0.1, and the directory of the certificates."""
    directory = tmp_path_factory.mktemp("tls")
    for ca in ("ours", "theirs"):
        make_ca(directory, ca)
    make_cert(directory, "server", "ours")
    make_cert(directory, "client", "ours")
    make_cert(directory, "stranger", "theirs")
    options = [f"--ssl-ca={directory}/ours.pem", f"--ssl-cert={directory}/server.pem", f"--ssl-key={directory}/server.key"]
    server = MariaDB(tmp_path_factory.mktemp("tls-mariadb"), options=options).start()
    yield server, directory
    server.close()


def test_a_user_that_needs_a_certificate(make_system, guarded):
    server, directory = guarded
    database = server.create_database()
    for host in ("127.0.0.1", "localhost"):
        server.sql(f"CREATE OR REPLACE USER 'guarded'@'{host}' IDENTIFIED BY '{database.password}' REQUIRE X509")
        server.sql(f"GRANT ALL ON `{database.name}`.* TO 'guarded'@'{host}'")
    tls = {"db.tls_ca": directory / "ours.pem", "db.tls_cert": directory / "client.pem", "db.tls_key": directory / "client.key"}
    system = make_system(database=database, settings={"db.user": "guarded", **tls})
    session = system.api.login(1)
    system.api.list(session).expect(200)
    ciphers = server.sql("SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'guarded'")
    assert ciphers[0]["n"] > 0

    def refused(**other):
        settings = {**system.settings, **{name.replace("tls_", "db.tls_").replace("host", "db.host"): value for name, value in other.items()}}
        conf = system.write_conf("other", {name: value for name, value in settings.items() if value})
        done = system.ctl("worker", "list", conf=conf, check=False)
        assert done.returncode in (1, 2), (other, done.stdout)
        return done.stderr

    assert "db.tls_ca must be the authority" in refused(tls_ca=directory / "theirs.pem")
    assert "db.tls_cert" in refused(tls_cert=None, tls_key=None)  # the server wants one
    assert "db.tls_cert" in refused(tls_cert=directory / "stranger.pem", tls_key=directory / "stranger.key")
    assert "needs db.tls_ca" in refused(tls_ca=None, tls_cert=None, tls_key=None)
    assert "db.tls_cert: needs db.tls_ca" in refused(tls_ca=None)
    assert "db.tls_ca" in refused(tls_ca=directory / "ours.missing")
