/* SPDX-License-Identifier: MIT */
/*
 * doctor_check.c - the invariants, asked of the database: doctor_check.def,
 * and what must compare URLs. Reads only, takes no locks.
 */
#include "ctl/doctor.h"

#include "common/url.h"
#include "ctl/ctl.h"
#include "ctl/portal_jobs.h"
#include "db/robot_row.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 20 /* of one check; more are counted as "more" */
#define ROBOTS_MAX 5000
#define URL_ROOM 256

enum level { NOTE, BROKEN };

static const struct check {
    const char *name;
    enum level level;
    const char *sql, *remedy;
} checks[] = {
#define CHECK_ROWS(name, level, sql, remedy) {name, level, sql, remedy},
#include "ctl/doctor_check.def"
#undef CHECK_ROWS
};

void finding_add(struct findings *f, enum finding_level level, const char *check, const char *text,
                 const char *remedy)
{
    static const char *const names[] = {
        [FINDING_NOTE] = "note", [FINDING_BROKEN] = "broken", [FINDING_DOWN] = "down"};
    struct jv *one = jv_new_object();
    jv_set_str(one, "level", names[level]);
    jv_set_str(one, "check", check);
    jv_set_str(one, "text", text ? text : "");
    jv_set_str(one, "do", remedy ? remedy : "");
    jv_push(f->list, one);
    f->broken += level == FINDING_BROKEN;
    f->down += level == FINDING_DOWN;
}

static enum db_rc check_make(struct db *db, const struct check *c, int64_t lease_ms, struct findings *f)
{
    unsigned n = 0;
    bool own_remedy = !*c->remedy;
    if (strchr(c->sql, '?'))
        TRY(db_query(db, c->sql, "i", 2 * lease_ms));
    else
        TRY(db_query(db, c->sql, ""));
    for (; db_next(db); n++)
        if (n < ROWS_MAX)
            finding_add(f, c->level == BROKEN ? FINDING_BROKEN : FINDING_NOTE, c->name, db_str(db, 0, NULL),
                        own_remedy ? db_str(db, 1, NULL) : c->remedy);
    if (n > ROWS_MAX) {
        char text[80];
        snprintf(text, sizeof(text), "and %u more of them", n - ROWS_MAX);
        finding_add(f, c->level == BROKEN ? FINDING_BROKEN : FINDING_NOTE, c->name, text,
                    own_remedy ? "" : c->remedy);
    }
    f->checks++;
    return DB_OK;
}

/* ---- base URLs ---------------------------------------------------------------------------------------------- */

/* Equal after normalisation; what cannot be normalised equals nothing. */
static bool same_url(const char *a, const char *b)
{
    char x[URL_ROOM], y[URL_ROOM];
    return a && b && url_normalise(a, x, sizeof(x), NULL) && url_normalise(b, y, sizeof(y), NULL) &&
           strcmp(x, y) == 0;
}

/* The robot of a live session is read from portal_jobs: it must be the one that the session's place is on. */
static enum db_rc base_urls_check(struct db *db, struct findings *f)
{
    TRY(db_query(db,
                 "SELECT s.job_id, r.name, j.robot_worker_base_url, r.base_url FROM chasqui_sessions s JOIN "
                 "portal_jobs j ON j.id = s.job_id JOIN "
                 "chasqui_robots r ON r.id = s.robot_id WHERE s.state IN ('active', 'closing') AND NOT (BINARY "
                 "j.robot_worker_base_url <=> BINARY "
                 "r.base_url)",
                 ""));
    while (db_next(db)) {
        char text[200];
        if (same_url(db_str(db, 2, NULL), db_str(db, 3, NULL)))
            continue;
        snprintf(text, sizeof(text),
                 "job %s: portal_jobs names another base URL than robot %s, whose place it holds",
                 db_str(db, 0, NULL), db_str(db, 1, NULL));
        finding_add(f, FINDING_BROKEN, "base_url_differs", text,
                    "somebody else writes portal_jobs: after cut-over only Chasqui logs in; close the session "
                    "with: chasqui sessions close ID");
    }
    f->checks++;
    return DB_OK;
}

/* A name for a robot without one: its host and port. */
static void name_propose(const char *normalised, char *out, size_t room)
{
    const char *host = strstr(normalised, "://") + 3;
    size_t n = 0;
    for (; *host && n + 1 < room && n < 64; host++)
        out[n++] = strchr("[]:/", *host) ? '-' : *host;
    out[n] = 0;
}

static void stranger_tell(struct findings *f, const char *base_url, uint64_t rows)
{
    char url[URL_ROOM], name[65], text[600], remedy[400];
    const char *why = "";
    bool good = url_normalise(base_url, url, sizeof(url), &why);
    snprintf(text, sizeof(text),
             "Laravel opened sessions on %.255s, which is not registered (%llu rows): calls to them answer 410",
             base_url, (unsigned long long)rows);
    if (good) {
        name_propose(url, name, sizeof(name));
        snprintf(remedy, sizeof(remedy), "chasqui worker add %s --base-url %s", name, url);
    } else {
        snprintf(remedy, sizeof(remedy), "it cannot be registered (%s); correct the rows", why);
    }
    finding_add(f, FINDING_NOTE, "robot_unknown", text, remedy);
}

/* Laravel's own rows whose base URL no robot has. One statement answers both: the strangers, and all that is
 * registered. */
static enum db_rc strangers_check(struct db *db, struct findings *f)
{
    static char known[ROBOTS_MAX][URL_ROOM];
    unsigned n = 0;
    TRY(db_query(db,
                 "SELECT base_url, 0 FROM chasqui_robots WHERE removed = 0 UNION ALL (SELECT "
                 "j.robot_worker_base_url, COUNT(*) FROM portal_jobs j "
                 "WHERE j.status IN ({done}, {running}) AND j.robot_worker_base_url IS NOT NULL AND "
                 "j.robot_session_id IS NOT NULL AND NOT EXISTS "
                 "(SELECT 1 FROM chasqui_sessions x WHERE x.job_id = j.id) AND NOT EXISTS (SELECT 1 FROM "
                 "chasqui_jobs y WHERE y.job_id = j.id) "
                 "GROUP BY j.robot_worker_base_url LIMIT 1000)",
                 ""));
    while (db_next(db)) {
        const char *url = db_str(db, 0, NULL);
        uint64_t rows = db_u64(db, 1);
        char normalised[URL_ROOM];
        unsigned i = 0;
        if (!rows) {
            if (n < ROBOTS_MAX)
                snprintf(known[n++], URL_ROOM, "%s", url);
            continue;
        }
        if (url_normalise(url, normalised, sizeof(normalised), NULL))
            while (i < n && strcmp(known[i], normalised) != 0)
                i++;
        else
            i = n;
        if (i == n)
            stranger_tell(f, url, rows);
    }
    f->checks++;
    return DB_OK;
}

/* Laravel may have changed its table since `chasqui migrate` looked at it. */
static enum db_rc table_check(struct db *db, struct findings *f)
{
    struct portal_jobs table;
    char *save = NULL;
    enum db_rc rc = portal_jobs_look(db, &table);
    for (char *line = rc == DB_OK ? strtok_r(table.refused.data, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        struct buf text = {0};
        buf_addf(&text, "portal_jobs: %s", line);
        finding_add(
            f, strstr(line, "without a default") || strstr(line, "is missing"), "portal_jobs", text.data,
            "until then the database refuses every new row: jobs fail as refused_by_database, and execute answers 409");
        buf_free(&text);
    }
    buf_free(&table.refused);
    f->checks++;
    return rc;
}

/* A check that the tables are not made for is a finding, said once; the others are made. */
static enum db_rc judged(struct db *db, enum db_rc rc, struct findings *f)
{
    char words[500], text[600];
    if (rc != DB_REFUSED)
        return rc;
    if (!f->is_incomplete) {
        db_refusal_words(db_refusal(db), words, sizeof(words));
        snprintf(text, sizeof(text), "not every check could be made: %s", words);
        finding_add(f, FINDING_BROKEN, "tables_incomplete", text,
                    "the table was dropped and made anew, or changed: chasqui migrate");
    }
    f->is_incomplete = true;
    return DB_OK;
}

enum db_rc doctor_database(struct db *db, int64_t lease_ms, struct findings *f)
{
    TRY(judged(db, table_check(db, f), f));
    for (unsigned i = 0; i < sizeof(checks) / sizeof(*checks); i++)
        TRY(judged(db, check_make(db, &checks[i], lease_ms, f), f));
    TRY(judged(db, base_urls_check(db, f), f));
    return judged(db, strangers_check(db, f), f);
}
