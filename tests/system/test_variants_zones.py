# SPDX-License-Identifier: MIT
"""Variants of how Laravel writes times, made up from the contract and from public bug reports alone: its own zone, its connection's, TIMESTAMP and DATETIME."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from harness.wait import wait_until
from test_laravel_rows import databases, findings, laravel  # noqa: F401
from test_variants import Results

TIMES = ("created_at", "updated_at", "started_at", "finished_at")
APPLICATIONS = (  # app.timezone, the connection's zone, the columns' type
    ("America/Santiago", "+00:00", "TIMESTAMP"),  # laravel#24915: wall time through a connection in UTC, in a zone with summer time
    ("UTC", "-05:00", "TIMESTAMP"),  # laravel#16745, laravel/laravel#6673: times in UTC through a connection in the server's zone
    ("America/Lima", "-05:00", "TIMESTAMP"),  # laravel/settler#254: both alike
    ("Pacific/Kiritimati", "+00:00", "TIMESTAMP"),  # tomorrow already
    ("Etc/GMT+5", "+02:00", "TIMESTAMP"),  # a name whose sign is the other way round, and a server elsewhere
    ("+05:30", "+00:00", "TIMESTAMP"),
    ("America/Lima", "-05:00", "DATETIME"),  # laravel#17125, #60547: DATETIME keeps what is written, whatever the connection's zone
    ("Europe/London", "+00:00", "DATETIME"),
)


def zone_of(name):
    if name[0] in "+-":
        return timezone(timedelta(hours=int(name[:3]), minutes=int(name[0] + name[4:])))
    return ZoneInfo(name)


class Application:
    """Laravel's side of the table: what it writes and reads, by its zone and through its connection."""

    def __init__(self, system, zone, connection):
        self.system, self.zone = system, zone_of(zone)
        self.db = system.database.connect()
        self.sql("SET time_zone = %s", connection)

    def sql(self, text, *args):
        with self.db.cursor() as cursor:
            cursor.execute(text, args)
            return cursor.fetchall()

    def wall(self, **ago):
        return (datetime.now(timezone.utc) - timedelta(**ago)).astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")

    def writes(self, company, at):
        session = self.system.robot.orphan(company)
        self.sql("INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
                 "VALUES (%s, %s, 'sunat', 'x', 'done', %s, %s, %s, %s)", f"LARAVEL-{company}", company, self.system.robot.url, session, at, at)  # fmt: skip
        return session

    def reads(self, company):
        row = self.sql(f"SELECT {', '.join(TIMES)} FROM portal_jobs WHERE company_id = %s", company)[0]
        return [(datetime.now(timezone.utc) - row[name].replace(tzinfo=self.zone)).total_seconds() for name in TIMES]


def test_applications_in_other_zones(laravel):  # noqa: F811
    system, results = laravel(settings={"session.idle_timeout_s": 3600}, capacity=60), Results()
    api = system.api
    system.allow_violations = True  # sessions of Laravel's that are too old stand beside those that were opened instead
    system.check_doctor = False

    def one(company, zone, connection, kind):
        system.dispatcher.stop()
        system.settings.update({"laravel.time_zone": zone, "laravel.connection_time_zone": connection})
        system.conf = system.write_conf("chasqui", system.settings)
        system.database.execute("ALTER TABLE portal_jobs " + ", ".join(f"MODIFY {name} {kind} NULL" for name in TIMES))
        system.dispatchers[0] = system.make("dispatcher", 0).start()
        system.wait_ready().wait_probed()
        application = Application(system, zone, connection)
        young = application.writes(company, application.wall(minutes=10))
        old = application.writes(company + 1, application.wall(minutes=100))
        answer = api.execute(company).expect(200).json
        assert answer["session_id"] == young and answer["reused"], "a young session is used"
        assert api.login(company + 1) != old, "one that is older than the idle timeout is not"
        api.login(company + 2)
        ages = application.reads(company + 2)
        assert all(-5 <= age <= 200 for age in ages), ages
        job = api.get(f"/api/v1/app/jobs?company_id={company + 2}").expect(200).json["jobs"][0]
        age = (datetime.now(timezone.utc) - datetime.fromisoformat(job["created_at"].replace("Z", "+00:00"))).total_seconds()
        assert -5 <= age <= 200, job
        application.writes(company + 3, application.wall())
        assert "laravel_clock" not in findings(system)
        # laravel#27841, glpi#23670: wall times that a day with a change of clocks skips, or has twice.
        for at in ("2026-09-06 00:30:00", "2026-04-04 23:30:00", "2026-03-29 01:30:00", "2026-10-25 01:30:00"):
            application.sql("UPDATE portal_jobs SET created_at = %s WHERE company_id = %s", at, company + 3)
            api.get(f"/api/v1/app/jobs?company_id={company + 3}").expect(200)
            api.list(young).expect(200)
        application.db.close()
        system.database.execute("DELETE FROM portal_jobs WHERE company_id = %s", company + 3)
        return [round(age) for age in ages]

    for n, row in enumerate(APPLICATIONS):
        results.play("zones", " ".join(row), one, 10 * (n + 1), *row)
    wait_until(lambda: api.list(api.active(12).json["session_id"]).status == 200, 20, "it goes on")
    results.judge()
