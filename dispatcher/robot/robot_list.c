/* SPDX-License-Identifier: MIT */
/*
 * robot_list.c - fetches both lists and builds an index over each. A robot may hold thousands of sessions, so
 * neither list is searched linearly for every entry of the other.
 */
#include "dispatcher/robot/robot_list.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fetch {
    struct dispatcher *d;
    struct robot_list list;
    struct jv *body;
    robot_list_fn *fn;
    void *arg;
};

static void job_key(char out[JOB_KEY_ROOM], const char *job_uid, uint64_t epoch)
{
    snprintf(out, JOB_KEY_ROOM, "%s.%llu", job_uid, (unsigned long long)epoch);
}

/* A robot may list an id twice: the first entry counts. */
static void index_add(struct names *n, const char *name, uint32_t at)
{
    if (names_find(n, name) == NAMES_NONE)
        names_add(n, name, at);
}

static void index_make(struct robot_list *list)
{
    for (uint32_t i = 0; i < jv_len(list->sessions); i++) {
        const char *id = jv_str(jv_get(jv_at(list->sessions, i), "session_id"));
        if (id)
            index_add(&list->entries, id, i);
    }
    list->job_keys = xcalloc(list->n_rows, sizeof(*list->job_keys));
    for (uint32_t i = 0; i < list->n_rows; i++) {
        const struct session_row *row = &list->rows[i];
        job_key(list->job_keys[i], row->job_uid, row->epoch);
        index_add(&list->rows_by_job, list->job_keys[i], i);
        if (row->state != SESSION_OPENING)
            index_add(&list->rows_by_id, row->session_id, i);
    }
}

static void index_free(struct robot_list *list)
{
    names_clear(&list->entries);
    names_clear(&list->rows_by_id);
    names_clear(&list->rows_by_job);
    free(list->job_keys);
}

static void fetch_end(struct fetch *f)
{
    index_make(&f->list);
    f->fn(f->d, f->arg, &f->list);
    index_free(&f->list);
    jv_free(f->body);
    free(f);
}

static void rows_came(void *arg, void *op_arg)
{
    struct fetch *f = arg;
    struct store_robot_sessions *op = op_arg;
    f->list.rows = op->row;
    f->list.n_rows = op->n;
    f->list.rows_known = op->rc == STORE_OK;
    struct session_row *rows = op->row;
    free(op);
    fetch_end(f);
    free(rows);
}

static void list_came(void *arg, struct call_answer *a)
{
    struct fetch *f = arg;
    robots_boot_seen(f->d, f->list.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    enum told told = robots_told_list(f->d, f->list.robot_id, a, &f->body);
    const struct robot *robot = robot_by_id(f->d, f->list.robot_id);
    f->list.state = told == TOLD_YES ? LIST_OK : told == TOLD_NOT_SPOKEN ? LIST_UNSUPPORTED : LIST_UNREACHABLE;
    f->list.sessions = jv_get(f->body, "sessions");
    strcpy(f->list.boot_id, a->boot_id);
    f->list.is_whole = robot && (robot->sessions < 0 || jv_len(f->list.sessions) >= (size_t)robot->sessions);
    struct store_robot_sessions *op = xcalloc(1, sizeof(*op));
    op->robot_id = f->list.robot_id;
    store_submit(f->d->store, store_robot_sessions, op, rows_came, f);
}

void robot_list_get(struct dispatcher *d, uint32_t robot_id, robot_list_fn *fn, void *arg)
{
    const struct robot *robot = robot_by_id(d, robot_id);
    struct fetch *f = xcalloc(1, sizeof(*f));
    f->d = d;
    f->list.robot_id = robot_id;
    f->list.state = LIST_UNREACHABLE;
    f->fn = fn;
    f->arg = arg;
    CHECK(robot, "robot %u is not registered", robot_id);
    robot_call_list(d, robot, (struct call_ids){0}, list_came, f);
}

const struct session_row *robot_list_row(const struct robot_list *list, const struct jv *entry)
{
    const char *uid = jv_str(jv_get(entry, "job_uid")), *id = jv_str(jv_get(entry, "session_id"));
    int64_t epoch = -1;
    uint32_t at = NAMES_NONE;
    char key[JOB_KEY_ROOM];
    if (uid && strlen(uid) < sizeof(list->rows->job_uid) && jv_int(jv_get(entry, "epoch"), &epoch) && epoch >= 0) {
        job_key(key, uid, (uint64_t)epoch);
        at = names_find(&list->rows_by_job, key);
    }
    if (at == NAMES_NONE && id)
        at = names_find(&list->rows_by_id, id);
    return at == NAMES_NONE ? NULL : &list->rows[at];
}

const struct jv *robot_list_entry(const struct robot_list *list, const struct session_row *row)
{
    uint32_t at = names_find(&list->entries, row->session_id);
    return at == NAMES_NONE ? NULL : jv_at(list->sessions, at);
}
