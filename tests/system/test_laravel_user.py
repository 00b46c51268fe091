# SPDX-License-Identifier: MIT
"""laravel.columns = user_id: a job has the user who asked for it, as in an application that writes $request->user()->id. The user comes with
the token, by the view or by introspection; what is no user, or not known, is NULL, and one whom the table refuses is refused aloud."""

import hashlib

from harness.http import Api
from harness.wait import wait_until
from test_laravel_rows import LARAVEL
from test_tokens_laravel import SAMPLE, SANCTUM, VIEW, idp, run, sanctum  # noqa: F401

OTHER = "SELECT id, secret_sha256, company_id, 'app' AS abilities, NULL AS expires_at"
ECHO = {"sunat.echo": {"method": "POST", "path": "/sunat/echo", "session": "use", "timeout_ms": 5000}}


def test_a_job_has_the_user_who_asked(database, make_system, idp):
    for statement in LARAVEL.split(";\n"):
        if statement.strip():
            database.execute(statement)
    database.execute("INSERT INTO companies (id, name) SELECT seq, 'c' FROM seq_1_to_99")
    database.execute("INSERT INTO users (id, company_id, name) VALUES (70, 7, 'ana'), (71, 7, 'beto'), (72, 7, 'carla')")
    system = make_system(database=database, capacity=60, actions=ECHO, settings={
        "laravel.columns": "user_id", "auth.laravel_view": "chasqui_laravel_tokens", "auth.introspect_url": f"http://127.0.0.1:{idp.port}/"})  # fmt: skip
    run(system, SANCTUM.split(";", 1)[1])
    database.execute("CREATE TABLE whose (id BIGINT UNSIGNED NOT NULL, secret_sha256 CHAR(64) NOT NULL, company_id BIGINT UNSIGNED NOT NULL, user_id VARCHAR(40) NULL)")
    run(system, SAMPLE)
    companies = iter(range(1, 100))

    def api(token):
        return Api(system.api_url(), token)

    def user_of(answer, status=200):
        return database.value("SELECT user_id FROM portal_jobs WHERE id = %s", answer.expect(status).json["job_id"])

    def user_by_view(*ids):
        """Of a log-in with a new token, which has a row for each id: of a company each, and the first one is logged in."""
        company = next(companies)
        secret = f"secret-of-{company}"
        for more, user in enumerate(ids):
            database.execute("INSERT INTO whose VALUES (%s, %s, %s, %s)", company, hashlib.sha256(secret.encode()).hexdigest(), company + more * 1000, user)
        return user_of(api(secret).execute(company))

    # The view as it is shipped: log-in, queued log-in, action; another token is another user; a batch's job has the one who submitted it; a token of Chasqui's own names none.
    token = sanctum(system, first := next(companies), "of-Sanctum")
    user = database.value("SELECT MAX(id) FROM users")
    session = api(token).execute(first)
    assert user_of(session) == user
    again = api(sanctum(system, first, "another")).execute(first, action="sunat.echo", session_id=session.json["session_id"])
    assert user_of(again) == user + 1
    queued = api(sanctum(system, second := next(companies), "queued")).queue(second)
    assert user_of(queued, 202) == user + 2
    batch = api(sanctum(system, third := next(companies), "batch")).batch([third]).expect(202).json["batch_id"]
    wait_until(lambda: database.value("SELECT COUNT(*) FROM portal_jobs WHERE batch_id = %s", batch), 60, "the batch's job")
    assert database.value("SELECT user_id FROM portal_jobs WHERE batch_id = %s", batch) == user + 3
    assert user_of(system.api.execute(next(companies))) is None

    # Logged out: refused, and nothing is written.
    database.execute("DELETE FROM personal_access_tokens WHERE token = %s", hashlib.sha256(b"of-Sanctum").hexdigest())
    wait_until(lambda: api(token).active(first).status == 401, 10, "it is refused")
    api(token).execute(first, force_new=True).expect(401, "unauthenticated")
    assert database.value("SELECT COUNT(*) FROM portal_jobs WHERE user_id = %s", user) == 1

    # What a view may hold: an unsigned integer counts, nothing else; rows of a token that disagree name nobody.
    run(system, VIEW + OTHER + ", user_id FROM whose")
    assert [user_by_view(*ids) for ids in (["70"], ["070"], ["71", "71"])] == [70, 70, 71]
    for text in (None, "", "-70", "+70", "70.0", "70 ", "7e1", "0", "ana", "9223372036854775808", "7" * 40):
        assert user_by_view(text) is None, text
    assert (user_by_view("70", "71", "71"), user_by_view("70", None)) == (None, None)
    # A view without the column goes on, and so does one that gets it back.
    run(system, VIEW + OTHER + " FROM whose")
    assert user_by_view("70") is None
    run(system, VIEW + OTHER + ", CAST(user_id AS INT) AS user_id FROM whose")
    wait_until(lambda: user_by_view("72") == 72, 10, "it is seen again", every=2)

    # Introspection: user_id, else sub.
    def user_by_server(**said):
        company = next(companies)
        idp.answer = lambda _token: (200, {"active": True, "scope": "app", "companies": [company], **said})
        return user_of(api(f"of-the-server-{company}").execute(company))

    assert [user_by_server(**said) for said in ({"sub": "70"}, {"sub": 71}, {"sub": "ana", "user_id": 72}, {"sub": "70", "user_id": "71"})] == [70, 71, 72, 71]
    for said in ({}, {"sub": "ana"}, {"sub": "70", "user_id": None}, {"sub": "70", "user_id": -1}, {"user_id": 70.0}, {"user_id": [70]}, {"sub": 0}):
        assert user_by_server(**said) is None, said

    # A user whom the table does not know is refused as every row is: aloud, with the constraint; no session stays, and others go on.
    company = next(companies)
    idp.answer = lambda _token: (200, {"active": True, "scope": "app", "companies": [company], "sub": "555"})
    for answer in (api("of-a-stranger").execute(company), api("of-a-stranger").queue(company)):
        assert answer.expect(409, "refused_by_database").json["errors"]["constraint"] == ["portal_jobs_user_id_foreign"]
    assert not [one for one in system.robot.sessions() if one["company_id"] == company]
    assert user_of(system.api.execute(company)) is None
