# SPDX-License-Identifier: MIT
"""Chasqui as it is run: durable MariaDB, CURVE on, log level warn, defaults otherwise."""

import threading

from harness import System, wait_until

SETTINGS = {
    "log.level": "warn",
    "healthd.interval_ms": 1000,
    "healthd.timeout_ms": 1000,
    "session.sweep_ms": 1000,
    "queue.lease_ms": 15000,
    "broker.idle_timeout_s": 900,
}
TABLES = (  # the sessions of `fill`, in an order that its foreign numbers allow
    "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, "
    "updated_at, worker) SELECT CONCAT('B', LPAD(seq, 11, '0'), '-1700000000'), seq + 1000000, 'sunat', 'sunat.menu_sol_login', "
    "'done', ELT(1 + seq % {n}, {urls}), MD5(CONCAT('bench', seq)), NOW(), NOW(), ELT(1 + seq % {n}, {names}) FROM {source}",
    "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) SELECT id, job_uid, 'login', company_id, portal FROM "
    "portal_jobs WHERE company_id > 1000000",
    "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, robot_id, boot_id, "
    "robot_session_id, live_session_id, epoch, started_at, last_activity_at) SELECT j.id, j.id, j.company_id, j.portal, 1, 'active', "
    "NOW(6), r.id, 'bench', j.robot_session_id, j.robot_session_id, 1, NOW(6), NOW(6) FROM portal_jobs j JOIN chasqui_robots r ON "
    "r.base_url = j.robot_worker_base_url WHERE j.company_id > 1000000",
    "ANALYZE TABLE portal_jobs, chasqui_jobs, chasqui_sessions",
)


def without_curve(lab):
    """On one host: a local socket that only its owner may use."""
    room = lab.room("plain")
    socket = f"ipc://{room}.sock"
    return lab.keep(Chasqui(room, lab.mariadb, lab.robots, curve=False, settings={"broker.bind": socket, "dispatcher.brokers": socket}))


class Chasqui(System):
    def __init__(self, directory, mariadb, robots, *, capacity=5000, **more):
        """robots = [Robots]; all of them are registered, with `capacity` places each."""
        settings = {**SETTINGS, "db.socket": mariadb.socket, **more.pop("settings", {})}
        super().__init__(directory, mariadb.create_database(), settings=settings, **more)
        self.server = mariadb
        self.check_doctor = False  # nginx is no whole robot: it cannot be asked for its sessions
        self.nginx = robots
        self.setup()
        for one in robots:
            for name, url in zip(one.names, one.urls, strict=True):
                self.ctl("worker", "add", name, "--base-url", url, "--capacity", capacity)
        self.start().wait_ready()
        self.wait_robots()

    def wait_robots(self):
        """Every robot is judged."""
        names = {name for one in self.nginx for name in one.names}

        def judged():
            told = self.ops.get("/api/v1/ops/workers").expect(200).json["workers"]
            return {one["name"] for one in told if one["verdict"] == "up"} >= names

        wait_until(judged, 60, "every robot is up", every=0.2)

    def labels(self):
        """{label: processes} for usage.Meter."""
        return {
            "broker": self.brokers,
            "dispatcher": self.dispatchers,
            "healthd": self.healthds,
            "mariadb": [self.server.process],
            "robots": [one.process for one in self.nginx],
        }

    def log_in(self, n):
        """Real log-ins, eight at a time: the session ids."""
        ids, wrong, left = [], [], list(range(1, n + 1))

        def work():
            while left and not wrong:
                answer = self.api.execute(left.pop(), params={"clave": "bench"})
                if answer.status == 200:
                    ids.append(answer.json["session_id"])
                else:
                    wrong.append(answer)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[0]
        return ids

    def fill(self, n):
        """n active sessions straight into the tables, spread over the robots: how many of them take part is nobody's business
        but the look-up's."""
        self.run(TABLES, n)

    def fill_legacy(self, n):
        """n sessions as Laravel leaves them: rows of portal_jobs and nothing else."""
        self.run((TABLES[0], TABLES[-1]), n)

    def run(self, statements, n):
        urls = [url for one in self.nginx for url in one.urls]
        names = [name for one in self.nginx for name in one.names]
        words = {
            "n": len(urls), "source": f"seq_1_to_{n}",
            "urls": ",".join(f"'{url}'" for url in urls), "names": ",".join(f"'{name}'" for name in names),
        }  # fmt: skip
        with self.server.root(database=self.database.name, read_timeout=600) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(**words))

    def some_ids(self, n):
        """Ids of active sessions, from anywhere in the table."""
        rows = self.database.rows("SELECT robot_session_id id FROM chasqui_sessions WHERE state = 'active' ORDER BY RAND() LIMIT %s", n)
        return [row["id"] for row in rows]

    def robot_of(self, ids):
        """{session id: robot's name}, as portal_jobs has it."""
        wanted = set(ids)
        rows = self.database.rows("SELECT robot_session_id id, worker FROM portal_jobs WHERE robot_session_id IS NOT NULL")
        return {row["id"]: row["worker"] for row in rows if row["id"] in wanted}

    def pause(self):
        """All of it stands still, so that it takes nothing from what is measured."""
        for process in self.processes:
            process.pause()

    def wake(self):
        for process in self.processes:
            process.resume()
        self.wait_ready()
