# SPDX-License-Identifier: MIT
"""`chasqui migrate`: on an empty database, and on one that Laravel fills, in the shapes it may have there."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from harness import System, program, wait_until
from harness.process import clean_env

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = sorted(path.stem for path in (ROOT / "migrations").glob("*.sql"))

# The seed's table, as Laravel makes it.
SEED = {
    "id": "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
    "job_uid": "VARCHAR(64) NOT NULL UNIQUE",
    "company_id": "BIGINT UNSIGNED NOT NULL",
    "portal": "VARCHAR(50) NOT NULL",
    "action": "VARCHAR(100) NOT NULL",
    "status": "VARCHAR(20) NOT NULL DEFAULT 'queued'",
    "robot_worker_base_url": "VARCHAR(255) NULL",
    "robot_worker_viewer_url": "VARCHAR(255) NULL",
    "robot_session_id": "VARCHAR(100) NULL",
    "created_at": "TIMESTAMP NULL",
    "updated_at": "TIMESTAMP NULL",
}
ROWS = 500


class Tables:
    """One database, looked at and filled by hand, and the command on it."""

    def __init__(self, directory, database):
        self.system = System(directory, database)
        self.database = database

    def migrate(self, *words, check=True):
        return self.system.ctl("migrate", *words, check=check)

    def make(self, changes=None, rows=ROWS, after="INDEX idx_session_id (robot_session_id)"):
        """The seed's table with some columns changed (None leaves one out), and filled."""
        columns = {name: what for name, what in {**SEED, **(changes or {})}.items() if what}
        lines = [f"`{name}` {what}" for name, what in columns.items()] + ([after] if after else [])
        self.database.execute(f"CREATE TABLE portal_jobs ({', '.join(lines)}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci")
        if rows:
            self.fill(columns, rows)
        return columns

    def fill(self, columns, rows):
        given = {
            "job_uid": "CONCAT('LARAVEL', seq, '-', 1700000000 + seq)",
            "company_id": "20000 + seq",
            "portal": "IF(MOD(seq, 3), 'sunat', 'sunafil')",
            "action": "'sunat.menu_sol_login'",
            "status": "ELT(1 + MOD(seq, 4), 'queued', 'running', 'done', 'failed')",
            "robot_worker_base_url": "IF(MOD(seq, 4) = 2, 'http://10.0.0.7:9000/', NULL)",
            "robot_session_id": "IF(MOD(seq, 4) = 2, CONCAT('sesión-', seq), NULL)",
            "created_at": "'2026-01-02 03:04:05' + INTERVAL seq SECOND",
            "updated_at": "'2026-01-02 03:04:05' + INTERVAL seq SECOND",
        }
        names = [name for name in given if name in columns]
        self.database.execute(
            f"INSERT INTO portal_jobs ({', '.join(names)}) SELECT {', '.join(given[name] for name in names)} FROM seq_1_to_{rows}"
        )

    def content(self, columns):
        names = ", ".join(f"`{name}`" for name in columns)
        return self.database.rows(f"SELECT {names} FROM portal_jobs ORDER BY id")

    def column(self, name):
        """As information_schema describes it, without its place."""
        return self.database.row(
            "SELECT COLUMN_TYPE type, IS_NULLABLE nullable, COLUMN_DEFAULT `default`, CHARACTER_SET_NAME charset, COLLATION_NAME collation, "
            "COLUMN_COMMENT comment, EXTRA extra FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'portal_jobs' "
            "AND COLUMN_NAME = %s",
            name,
        )

    def everything(self):
        """The definition of every table: what must be the same when nothing was changed."""
        names = sorted(next(iter(row.values())) for row in self.database.rows("SHOW TABLES"))
        return {name: self.database.row(f"SHOW CREATE TABLE `{name}`")["Create Table"] for name in names}

    def refuses(self, *words):
        """Migrating fails, names these words, and changes nothing."""
        before = self.everything()
        rows = self.database.rows("SELECT * FROM portal_jobs ORDER BY id") if "portal_jobs" in before else None
        told = self.migrate(check=False)
        assert told.returncode == 1, told.stdout + told.stderr
        for word in words:
            assert word in told.stderr, told.stderr
        assert self.everything() == before
        assert rows is None or self.database.rows("SELECT * FROM portal_jobs ORDER BY id") == rows
        return told.stderr


@pytest.fixture
def tables(tmp_path, database):
    return Tables(tmp_path / "ctl", database)


# --- an empty database -------------------------------------------------------------------------------------------


def test_an_empty_database_gets_every_table(tables):
    told = tables.migrate()
    made = set(tables.everything())
    assert {"portal_jobs", "chasqui_schema", "chasqui_sessions", "chasqui_places", "chasqui_leases", "chasqui_tokens"} <= made
    assert told.stdout.splitlines()[:-1] == [f"applied {name}" for name in MIGRATIONS]
    recorded = tables.database.rows("SELECT version, name, applied_at FROM chasqui_schema ORDER BY version")
    assert [row["name"] for row in recorded] == MIGRATIONS
    assert [row["version"] for row in recorded] == [int(name[:4]) for name in MIGRATIONS]
    assert all(row["applied_at"] for row in recorded)
    status = tables.column("status")
    assert (status["type"], status["nullable"], status["default"]) == ("varchar(20)", "NO", "'queued'")


def test_a_second_run_changes_nothing_and_says_so(tables):
    tables.migrate()
    tables.database.execute("INSERT INTO portal_jobs (job_uid, company_id, portal, action) VALUES ('X', 1, 'sunat', 'a.b')")
    before, rows = tables.everything(), tables.database.rows("SELECT * FROM chasqui_schema")
    told = tables.migrate()
    assert told.stdout == f"nothing to do: the database {tables.database.name} is at version {int(MIGRATIONS[-1][:4])}\n"
    assert json.loads(tables.migrate("--json").stdout) == {"ok": True, "applied": [], "version": int(MIGRATIONS[-1][:4])}
    assert tables.everything() == before
    assert tables.database.rows("SELECT * FROM chasqui_schema") == rows
    assert tables.database.value("SELECT COUNT(*) FROM portal_jobs") == 1


def test_the_migrations_travel_inside_the_program(tables, tmp_path):
    lonely = tmp_path / "elsewhere" / "chasqui"
    lonely.parent.mkdir()
    shutil.copy2(program("chasqui"), lonely)
    done = subprocess.run(
        [lonely, "-c", tables.system.conf, "--json", "migrate"], cwd=lonely.parent, env=clean_env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["applied"] == MIGRATIONS


def test_other_commands_ask_for_migrate_first(tables):
    for words in (("token", "list"), ("worker", "list"), ("doctor",)):
        told = tables.system.ctl(*words, check=False)
        assert told.returncode == 1
        assert "chasqui migrate" in told.stderr
    assert tables.everything() == {}


# --- Laravel's database ------------------------------------------------------------------------------------------

FOREIGN_WITH_DEFAULTS = {
    "user_id": "BIGINT UNSIGNED NULL",
    "payload": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL CHECK (json_valid(payload))",
    "tries": "INT NOT NULL DEFAULT 0",
    "deleted_at": "TIMESTAMP NULL",
    "seen": "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
    "uid_lower": "VARCHAR(64) AS (LOWER(job_uid)) STORED",
}
GOOD = {
    "the seed's": {},
    "an ENUM status": {"status": "ENUM('queued','running','done','failed') NOT NULL DEFAULT 'queued' COMMENT 'how it''s going'"},
    "a NULL-able ENUM": {"status": "ENUM('queued','running','done','failed','it''s, odd') CHARACTER SET latin1 NULL"},
    "a complete ENUM": {"status": "ENUM('queued','running','retrying','done','failed','cancelled','paused') NOT NULL DEFAULT 'queued'"},
    "a short status": {"status": "VARCHAR(8) NULL DEFAULT 'queued' COMMENT 'short'"},
    "a char status": {"status": "CHAR(10) NOT NULL"},
    "INT company ids": {"company_id": "INT NOT NULL", "id": "INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"},
    "more columns": FOREIGN_WITH_DEFAULTS,
    "ours there already": {"attempts": "TINYINT UNSIGNED NOT NULL DEFAULT 0", "error": "TEXT NULL", "message": "TEXT NULL", "finished_at": "TIMESTAMP NULL"},
    "no times, no robot": {name: None for name in ("created_at", "updated_at", "robot_worker_base_url", "robot_worker_viewer_url", "robot_session_id")},
    "text everywhere": {
        "job_uid": "TEXT NOT NULL", "portal": "VARCHAR(1000) NOT NULL", "action": "TEXT NOT NULL", "status": "VARCHAR(1000) NOT NULL",
        "robot_worker_base_url": "TEXT NULL", "robot_worker_viewer_url": "TEXT NULL", "robot_session_id": "LONGTEXT NULL",
    },
    "text and a portal ENUM": {"portal": "ENUM('sunat','sunafil') NOT NULL", "action": "TEXT NOT NULL", "status": "TEXT NOT NULL"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_a_filled_table_is_completed_and_no_row_changes(tables, changes):
    after = None if changes.get("robot_session_id", "") is None else "INDEX idx_session_id (robot_session_id)"
    columns = tables.make(changes, after=after)
    before = tables.content(columns)
    described = {name: tables.column(name) for name in columns if name != "status"}
    assert len(before) == ROWS
    tables.migrate()
    assert tables.content(columns) == before
    assert {name: tables.column(name) for name in described} == described
    # What the dispatcher writes can be written, and read back.
    tables.database.execute(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, worker, created_at, updated_at, available_at, "
        "started_at, robot_worker_base_url, robot_session_id, error, message) VALUES ('ABCDEFGHIJKL-1700000000', 20123, 'sunat', "
        "'sunat.menu_sol_login', 'running', 5, 1, %s, NOW(), NOW(), NOW(3), NOW(3), %s, %s, %s, %s)",
        "w" * 64, "http://" + "h" * 248, "s" * 100, "e" * 40, "m" * 1000,
    )  # fmt: skip
    for status in ("queued", "running", "retrying", "done", "failed", "cancelled"):
        tables.database.execute("UPDATE portal_jobs SET status = %s WHERE worker IS NOT NULL", status)
        assert tables.database.value("SELECT status FROM portal_jobs WHERE worker IS NOT NULL") == status
    assert tables.migrate().stdout.startswith("nothing to do")


def test_only_nullable_columns_and_plain_indexes_are_added(tables):
    columns = tables.make()
    unique = tables.database.rows("SHOW INDEX FROM portal_jobs WHERE Non_unique = 0")
    tables.migrate()
    added = tables.database.rows(
        "SELECT COLUMN_NAME name, IS_NULLABLE nullable, COLUMN_DEFAULT fallback FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND "
        "TABLE_NAME = 'portal_jobs'"
    )
    new = [row for row in added if row["name"] not in columns]
    assert {"priority", "attempts", "worker", "error", "message", "finished_at"} <= {row["name"] for row in new}
    assert all(row["nullable"] == "YES" for row in new)
    key = lambda row: (row["Key_name"], row["Seq_in_index"], row["Column_name"])  # noqa: E731
    assert sorted(map(key, tables.database.rows("SHOW INDEX FROM portal_jobs WHERE Non_unique = 0"))) == sorted(map(key, unique))


def test_an_enum_keeps_what_it_was(tables):
    tables.make({"status": "ENUM('queued','running','done','failed','it''s, odd') CHARACTER SET latin1 NOT NULL DEFAULT 'done' COMMENT 'how it''s \\\\ going'"})
    was = tables.column("status")
    tables.migrate()
    now = tables.column("status")
    assert now["type"] == "enum('queued','running','done','failed','it''s, odd','retrying','cancelled')"
    assert {**now, "type": was["type"]} == was
    position = "SELECT ORDINAL_POSITION FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'portal_jobs' AND COLUMN_NAME = 'status'"
    assert tables.database.value(position) == 6


def test_a_status_wide_enough_is_left_alone(tables):
    tables.make({"status": "VARCHAR(9) CHARACTER SET ascii NULL"})
    was = tables.column("status")
    tables.migrate()
    assert tables.column("status") == was


# --- refused before anything is changed -----------------------------------------------------------------------------

BAD = {
    "foreign columns": ({"owner": "VARCHAR(50) NOT NULL", "kind": "INT NOT NULL", "fine": "INT NOT NULL DEFAULT 3"}, ("owner", "kind")),
    "a foreign robot column": ({"robot_zone": "VARCHAR(20) NOT NULL"}, ("robot_zone",)),
    "no company": ({"company_id": None}, ("company_id",)),
    "no portal": ({"portal": None}, ("portal",)),
    "no action": ({"action": None}, ("action",)),
    "no status": ({"status": None}, ("status",)),
    "id does not count": ({"id": "BIGINT UNSIGNED NOT NULL PRIMARY KEY"}, ("id is not AUTO_INCREMENT",)),
    "id is a uuid": ({"id": "CHAR(36) NOT NULL PRIMARY KEY"}, ("id",)),
    "a short session id": ({"robot_session_id": "VARCHAR(64) NULL"}, ("robot_session_id", "100")),
    "a short base URL": ({"robot_worker_base_url": "VARCHAR(191) NULL"}, ("robot_worker_base_url", "255")),
    "a base URL that must be there": ({"robot_worker_base_url": "VARCHAR(255) NOT NULL DEFAULT ''"}, ("robot_worker_base_url", "NULL-able")),
    "a number as status": ({"status": "TINYINT NOT NULL DEFAULT 0"}, ("status", "ENUM")),
    "a uuid as batch": ({"batch_id": "CHAR(36) NULL"}, ("batch_id", "BIGINT")),
    "a short message": ({"message": "VARCHAR(255) NULL"}, ("message", "1000")),
    "a JSON error": ({"error": "JSON NULL"}, ("error", "CHECK")),
    "numbers as times": ({"created_at": "INT NULL"}, ("created_at", "TIMESTAMP")),
    "text as priority": ({"priority": "VARCHAR(10) NULL"}, ("priority", "integer")),
}  # fmt: skip


@pytest.mark.parametrize("changes,named", BAD.values(), ids=BAD.keys())
def test_a_table_that_cannot_work_is_refused_untouched(tables, changes, named):
    wanted = {**SEED, **changes}
    after = "INDEX idx_session_id (robot_session_id)" if wanted.get("robot_session_id") else None
    columns = {name: what for name, what in wanted.items() if what}
    lines = [f"`{name}` {what}" for name, what in columns.items()] + ([after] if after else [])
    tables.database.execute(f"CREATE TABLE portal_jobs ({', '.join(lines)}) ENGINE=InnoDB")
    told = tables.refuses("portal_jobs", "nothing was changed", *named)
    assert "fine" not in told
    assert set(tables.everything()) == {"portal_jobs"}


def test_every_reason_is_named_at_once(tables):
    tables.database.execute("CREATE TABLE portal_jobs (id INT NOT NULL PRIMARY KEY, owner INT NOT NULL) ENGINE=MyISAM")
    told = tables.refuses("InnoDB", "owner", "company_id", "portal", "action", "status", "AUTO_INCREMENT")
    assert told.count("  - ") == 7


def test_a_view_is_refused(tables):
    tables.database.execute("CREATE TABLE jobs (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY)")
    tables.database.execute("CREATE VIEW portal_jobs AS SELECT * FROM jobs")
    told = tables.migrate(check=False)
    assert told.returncode == 1
    assert "VIEW" in told.stderr


def test_after_the_reason_is_gone_it_goes_on(tables):
    columns = tables.make({"owner": "VARCHAR(50) NOT NULL DEFAULT 'x'"})
    tables.database.execute("ALTER TABLE portal_jobs ALTER owner DROP DEFAULT")
    before = tables.content(columns)
    tables.refuses("owner")
    tables.database.execute("ALTER TABLE portal_jobs ALTER owner SET DEFAULT ''")
    tables.migrate()
    assert tables.content(columns) == before


def test_a_table_put_back_from_a_copy_is_completed_again(tables):
    tables.migrate()
    tables.database.execute("DROP TABLE portal_jobs")
    columns = tables.make()
    before = tables.content(columns)
    assert json.loads(tables.migrate("--json").stdout)["applied"] == MIGRATIONS
    assert tables.content(columns) == before
    assert tables.column("worker")
    assert tables.migrate().stdout.startswith("nothing to do")


def test_a_database_of_a_newer_program_is_left_alone(tables):
    tables.migrate()
    tables.database.execute("INSERT INTO chasqui_schema VALUES (9999, '9999_future', NOW(6))")
    assert "9999" in tables.refuses("newer")


def test_no_database_no_change(tables):
    conf = tables.system.write_conf("nowhere", {**tables.system.settings, "db.port": 1})
    told = tables.system.ctl("migrate", check=False, conf=conf)
    assert told.returncode == 1
    assert "cannot be reached" in told.stderr


# --- more than one at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_two_at_once(tables, filled):
    columns = tables.make({"status": "ENUM('queued','running','done','failed') NOT NULL"}) if filled else None
    before = tables.content(columns) if filled else None
    ended = []
    runs = [threading.Thread(target=lambda: ended.append(tables.migrate(check=False))) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [one.returncode for one in ended] == [0, 0, 0, 0], "\n".join(one.stdout + one.stderr for one in ended)
    assert tables.database.value("SELECT COUNT(*) FROM chasqui_schema") == len(MIGRATIONS)
    assert not filled or tables.content(columns) == before
    assert tables.migrate().stdout.startswith("nothing to do")
    assert tables.database.value("SELECT revision FROM chasqui_revision") == 1


def test_a_long_transaction_of_somebody_else_is_not_waited_for_long(tables):
    columns = tables.make()
    with tables.database.connect() as holder, holder.cursor() as cursor:
        cursor.execute("SET autocommit = 0")
        cursor.execute("SELECT COUNT(*) FROM portal_jobs")
        ended = []
        run = threading.Thread(target=lambda: ended.append(tables.migrate(check=False)))
        run.start()
        waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock'"
        wait_until(lambda: tables.database.value(waiting), 20, "migrate waits for the table")
        holder.rollback()
        run.join()
    assert ended[0].returncode == 0, ended[0].stderr
    assert len(tables.content(columns)) == ROWS


# --- Laravel's side ------------------------------------------------------------------------------------------------


ARTISAN = "CREATE TABLE migrations (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, migration VARCHAR(255) NOT NULL, batch INT NOT NULL)"
OWN = "2026_02_02_163247_add_robot_worker_fields_to_portal_jobs_table"
ROBOTS_COLUMNS = {name: None for name in SEED if name.startswith("robot_")}


def test_artisans_own_migration_comes_first(tables):
    """After us it would fail with 1060, and never be marked as run."""
    tables.make(ROBOTS_COLUMNS, after=None)
    tables.database.execute(ARTISAN)
    tables.database.execute("INSERT INTO migrations (migration, batch) VALUES ('2025_01_10_100001_create_portal_jobs_table', 1)")
    assert "php artisan migrate first" in tables.refuses("2026_02_02", "1060", "--without-artisan")
    assert json.loads(tables.migrate("--json", check=False).stdout)["reasons"]
    # Artisan has run.
    for column in ROBOTS_COLUMNS:
        tables.database.execute(f"ALTER TABLE portal_jobs ADD COLUMN {column} {SEED[column]}")
    tables.database.execute("INSERT INTO migrations (migration, batch) VALUES (%s, 2)", OWN)
    told = tables.migrate()
    assert f"portal_jobs is Laravel's, it was completed and its {ROWS} rows are as they were" in told.stdout
    # A later Laravel migration is nobody's matter any more.
    tables.database.execute("DELETE FROM migrations")
    assert "nothing to do" in tables.migrate().stdout


def test_a_team_without_artisan_says_so(tables):
    tables.database.execute(ARTISAN)
    tables.refuses("no portal_jobs", "--without-artisan")
    told = json.loads(tables.migrate("--without-artisan", "--json").stdout)
    assert told["portal_jobs"] == {"was": "made", "rows": 0, "notes": []}
    assert json.loads(tables.migrate("--json").stdout) == {"ok": True, "applied": [], "version": int(MIGRATIONS[-1][:4])}


def test_a_prefix_is_named(tables):
    tables.database.execute("CREATE TABLE app_portal_jobs (id BIGINT, company_id BIGINT, portal VARCHAR(30))")
    tables.refuses("app_portal_jobs", "prefix")


def test_what_may_refuse_a_row_is_noted(tables):
    """Foreign keys in and out, a trigger, a CHECK on the table."""
    tables.make(after="INDEX idx_session_id (robot_session_id), CONSTRAINT no_zero CHECK (company_id <> attempts_made)", changes={"attempts_made": "INT NULL"}, rows=0)
    for sql in (
        "CREATE TABLE companies (id BIGINT UNSIGNED PRIMARY KEY)",
        "ALTER TABLE portal_jobs ADD CONSTRAINT of_company FOREIGN KEY (company_id) REFERENCES companies (id)",
        "CREATE TABLE portal_documents (id BIGINT PRIMARY KEY, portal_job_id BIGINT UNSIGNED, FOREIGN KEY (portal_job_id) REFERENCES portal_jobs (id) ON DELETE CASCADE)",
        "CREATE TRIGGER watch BEFORE INSERT ON portal_jobs FOR EACH ROW SET NEW.portal = LOWER(NEW.portal)",
    ):
        tables.database.execute(sql)
    told = tables.migrate()
    for word in ("of_company: company_id must be in companies", "portal_documents.portal_job_id points at portal_jobs", "trigger watch (BEFORE INSERT)", "CHECK no_zero"):
        assert word in told.stderr, told.stderr


def test_the_sql_is_shown_and_does_the_same_by_hand(tables, mariadb):
    tables.make({"status": "ENUM('pending','running','done','failed') NOT NULL DEFAULT 'pending'"}, rows=0)
    before = tables.everything()
    shown = tables.migrate("--print").stdout
    assert tables.everything() == before, "nothing was changed"
    assert "MODIFY COLUMN `status` enum('pending','running','done','failed','queued','retrying','cancelled')" in shown
    assert "CREATE INDEX IF NOT EXISTS `chasqui_company` ON `portal_jobs` (`company_id`, `portal`)" in shown
    # By hand, by whoever may.
    with mariadb.root(database=tables.database.name, client_flag=65536) as connection, connection.cursor() as cursor:  # MULTI_STATEMENTS
        cursor.execute(shown)
        while cursor.nextset():
            pass
    by_hand = tables.everything()
    assert tables.migrate().stdout.startswith("nothing to do")
    tables.database.execute("DROP TABLE chasqui_schema")
    tables.migrate()
    assert tables.everything() == by_hand
    assert tables.migrate("--print").stdout.count(";\n") == 1, "nothing is left to run but the table of versions"
