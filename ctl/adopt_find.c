/* SPDX-License-Identifier: MIT */
/*
 * adopt_find.c - see the header. The sessions of a cut-over are many and their base URLs few. Which robot a URL means
 * is therefore looked up once for each URL: the database compares it with every robot's. Owns nothing; reads only.
 */
#include "ctl/adopt_find.h"

#include "common/check.h"
#include "common/names.h"
#include "db/db_list.h"
#include "db/laravel_own.h"

#include <stdlib.h>
#include <string.h>

struct url {
    char *text; /* as Laravel wrote it */
    char *base; /* without slashes at its end; NULL = not looked up */
    uint64_t job_id, sessions;
    uint32_t robot_id; /* 0 = it is not registered */
};

struct finding {
    struct url *url;
    unsigned n_urls, url_room, row_room;
    struct names urls;
    struct adopt_found *out; /* robot_id is the index of the URL until all are looked up */
};

static void *grown(void *array, unsigned n, unsigned *room, size_t size)
{
    if (n < *room)
        return array;
    *room = *room ? *room * 2 : 256;
    return xrealloc(array, *room * size);
}

static uint32_t url_note(struct finding *f, const char *text, uint64_t job_id)
{
    uint32_t at = names_find(&f->urls, text);
    if (at == NAMES_NONE) {
        f->url = grown(f->url, f->n_urls, &f->url_room, sizeof(*f->url));
        at = f->n_urls++;
        f->url[at] = (struct url){.text = xstrdup(text), .job_id = job_id};
        names_add(&f->urls, f->url[at].text, at);
    }
    f->url[at].sessions++;
    return at;
}

/* Company and portal must be such that we can name them. */
static enum db_rc rows_read(struct db *db, uint64_t idle_s, struct finding *f)
{
    struct adopt_found *out = f->out;
    TRY(db_query(
        db,
        "SELECT j.id, j.robot_worker_base_url FROM portal_jobs j JOIN (SELECT MAX(j.id) AS id FROM portal_jobs j WHERE " LARAVEL_YOUNG
        " AND " LARAVEL_OWN
        " GROUP BY j.company_id, j.portal) n ON n.id = j.id WHERE j.company_id > 0 AND j.portal REGEXP '^[a-z0-9_]{1,64}$' AND NOT "
        "EXISTS (SELECT 1 FROM chasqui_sessions s FORCE INDEX (one_live) WHERE s.company_id = j.company_id AND s.portal = j.portal AND s.live = 1)",
        "u", idle_s));
    while (db_next(db)) {
        uint64_t job_id = db_u64(db, 0);
        out->row = grown(out->row, out->n, &f->row_room, sizeof(*out->row));
        out->row[out->n++] = (struct adoptable){job_id, url_note(f, db_str(db, 1, NULL), job_id)};
    }
    return DB_OK;
}

static struct url *url_of_job(struct url *url, unsigned n, uint64_t job_id)
{
    for (unsigned i = 0; i < n; i++)
        if (url[i].job_id == job_id)
            return &url[i];
    return NULL;
}

static enum db_rc urls_look(struct db *db, struct url *url, unsigned n)
{
    uint64_t ids[DB_LIST_MAX];
    for (unsigned i = 0; i < n; i++)
        ids[i] = url[i].job_id;
    TRY(db_query_in_u64(
        db,
        "SELECT j.id, TRIM(TRAILING '/' FROM j.robot_worker_base_url), COALESCE(r.id, 0) FROM portal_jobs j LEFT JOIN chasqui_robots r "
        "ON " ROBOT_OF " WHERE j.id IN (%s)",
        ids, n, ""));
    while (db_next(db)) {
        struct url *u = url_of_job(url, n, db_u64(db, 0));
        if (!u || u->base)
            continue;
        u->base = xstrdup(db_str(db, 1, NULL));
        u->robot_id = (uint32_t)db_u64(db, 2);
    }
    return DB_OK;
}

static int by_robot(const void *a, const void *b)
{
    const struct adoptable *x = a, *y = b;
    if (x->robot_id != y->robot_id)
        return x->robot_id < y->robot_id ? -1 : 1;
    return x->job_id < y->job_id ? -1 : x->job_id > y->job_id;
}

static void rows_sort(struct finding *f)
{
    struct adopt_found *out = f->out;
    unsigned n = 0;
    for (unsigned i = 0; i < out->n; i++)
        if ((out->row[i].robot_id = f->url[out->row[i].robot_id].robot_id))
            out->row[n++] = out->row[i];
    out->n = n;
    if (n)
        qsort(out->row, n, sizeof(*out->row), by_robot);
}

static int by_sessions(const void *a, const void *b)
{
    uint64_t x = ((const struct adopt_unknown *)a)->sessions, y = ((const struct adopt_unknown *)b)->sessions;
    return x > y ? -1 : x < y;
}

/* With a slash at its end and without, a URL is the same one. */
static void unknown_list(struct finding *f)
{
    struct adopt_found *out = f->out;
    struct names bases = {0};
    out->unknown = xcalloc(f->n_urls ? f->n_urls : 1, sizeof(*out->unknown));
    for (unsigned i = 0; i < f->n_urls; i++) {
        const struct url *u = &f->url[i];
        if (u->robot_id || !u->base)
            continue;
        uint32_t at = names_find(&bases, u->base);
        if (at == NAMES_NONE) {
            at = out->n_unknown++;
            out->unknown[at].base_url = xstrdup(u->base);
            names_add(&bases, out->unknown[at].base_url, at);
        }
        out->unknown[at].sessions += u->sessions;
    }
    names_clear(&bases);
    qsort(out->unknown, out->n_unknown, sizeof(*out->unknown), by_sessions);
}

enum db_rc adopt_find(struct db *db, uint64_t idle_s, struct adopt_found *out)
{
    struct finding f = {.out = out};
    enum db_rc rc = rows_read(db, idle_s, &f);
    for (unsigned at = 0; rc == DB_OK && at < f.n_urls; at += DB_LIST_MAX)
        rc = urls_look(db, f.url + at, f.n_urls - at < DB_LIST_MAX ? f.n_urls - at : DB_LIST_MAX);
    if (rc == DB_OK) {
        rows_sort(&f);
        unknown_list(&f);
    }
    names_clear(&f.urls);
    for (unsigned i = 0; i < f.n_urls; i++) {
        free(f.url[i].text);
        free(f.url[i].base);
    }
    free(f.url);
    return rc;
}

void adopt_found_free(struct adopt_found *found)
{
    for (unsigned i = 0; i < found->n_unknown; i++)
        free(found->unknown[i].base_url);
    free(found->unknown);
    free(found->row);
    *found = (struct adopt_found){0};
}
