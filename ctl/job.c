/* SPDX-License-Identifier: MIT */
/* job.c - `chasqui jobs`: what was asked for, what became of it, and why it waits; through a broker. */
#include "ctl/broker.h"

#include "common/clock.h"
#include "ctl/bulk.h"
#include "ctl/csv_out.h"

#include <stdio.h>
#include <string.h>

#define JOBS_PATH "/api/v1/ops/jobs"
#define ID_BYTES_MAX 40 /* a job_uid, or a number */

/* ---- list --------------------------------------------------------------------------------------------------- */

static bool list_options_ok(struct ctl *c)
{
    const char *search = args_value(&c->args, OPT_SEARCH);
    if (search && (!*search || strlen(search) > 100))
        return ctl_usage(c, "--search must be 1 to 100 bytes"), false;
    return bulk_options_ok(c);
}

static enum ctl_exit list_show(struct ctl *c, struct jv *list, bool more)
{
    static const char *const heads[] = {">JOB",         ">COMPANY",       "1~~ACTION", "=STATUS",
                                        "3>TRIES",      "4~~ROBOT",       "2>BATCH",   "~~ERROR",
                                        "~~ROBOT SAID", "5CREATED (UTC)", NULL};
    static const char *const keys[] = {"id",     "company_id", "action", "status",      "attempts",
                                       "worker", "batch_id",   "error",  "robot_error", "created_at"};
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(body, "jobs", list);
        jv_set_bool(body, "more", more);
        return ctl_json(body);
    }
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++)
        for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            broker_cell(table, jv_at(list, i), keys[k]);
    table_print(&table, "no such jobs");
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    jv_free(list);
    return CTL_DONE;
}

/* An item of a batch has no job before it begins: who looks for it among the jobs is told where it is. */
static void items_hint(const struct args *a)
{
    const char *status = args_value(a, OPT_STATUS), *batch = args_value(a, OPT_BATCH);
    if (status && (strcmp(status, "queued") == 0 || strcmp(status, "cancelled") == 0))
        fprintf(stderr, "items of batches become jobs when they start: chasqui batch items %s --status %s\n",
                batch ? batch : "ID", status);
}

/* Nothing was found. false: what was asked of is not there, and that was said. */
static bool empty_tell(struct ctl *c)
{
    const char *batch = args_value(&c->args, OPT_BATCH);
    uint64_t id;
    if (batch && args_number(c, "--batch", batch, 1, INT64_MAX, &id) && !broker_has_batch(c, id))
        return false;
    items_hint(&c->args);
    return true;
}

static const char *const csv_keys[] = {"id",         "job_uid",      "company_id",  "portal",        "action",
                                       "status",     "attempts",     "batch_id",    "worker",        "error",
                                       "message",    "robot_status", "robot_error", "robot_message", "created_at",
                                       "started_at", "finished_at",  NULL};

/* `arg`: whether the line of names is written. */
static void page_print(void *arg, const struct jv *rows)
{
    bool *is_begun = arg;
    broker_done_quiet(rows);
    if (jv_len(rows) && !*is_begun) {
        csv_head(stdout, csv_keys);
        *is_begun = true;
    }
    csv_rows(stdout, rows, csv_keys);
}

/* Row by row as they come: there may be millions. */
static enum ctl_exit list_csv(struct ctl *c, const char *query, uint64_t limit)
{
    bool is_begun = false, more = false;
    if (!broker_pages(c, DOOR_OPS, JOBS_PATH, query, "jobs", limit, page_print, &is_begun, &more) ||
        (!is_begun && !empty_tell(c)))
        return CTL_FAILED;
    if (!is_begun)
        csv_head(stdout, csv_keys);
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    return CTL_DONE;
}

enum ctl_exit jobs_list(struct ctl *c)
{
    struct buf query = {0};
    uint64_t limit;
    bool more;
    buf_adds(&query, "");
    if (!list_options_ok(c) || !broker_limit(c, &limit) || !broker_since_add(c, &query) ||
        !broker_until_add(c, &query)) {
        buf_free(&query);
        return CTL_USAGE;
    }
    broker_query_add(c, &query, OPT_STATUS, "status");
    broker_query_add(c, &query, OPT_COMPANY, "company_id");
    broker_query_add(c, &query, OPT_PORTAL, "portal");
    broker_query_add(c, &query, OPT_BATCH, "batch_id");
    broker_query_add(c, &query, OPT_WORKER, "worker");
    broker_query_add(c, &query, OPT_ERROR, "error");
    broker_query_add(c, &query, OPT_ROBOT_ERROR, "robot_error");
    broker_query_add(c, &query, OPT_SEARCH, "search");
    if (c->args.n[OPT_CSV] && !c->args.json) {
        enum ctl_exit code = list_csv(c, query.data, limit);
        buf_free(&query);
        return code;
    }
    struct jv *list = broker_list(c, DOOR_OPS, JOBS_PATH, query.data, "jobs", limit, &more);
    buf_free(&query);
    if (list && !jv_len(list) && !empty_tell(c)) {
        jv_free(list);
        return CTL_FAILED;
    }
    if (list && !c->args.json)
        broker_done_quiet(list);
    return list ? list_show(c, list, more) : CTL_FAILED;
}

/* ---- show --------------------------------------------------------------------------------------------------- */

static bool id_ok(struct ctl *c, const char *id)
{
    size_t len = strlen(id);
    if (len && len <= ID_BYTES_MAX && strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == len)
        return true;
    ctl_usage(c, "ID is a job's number, or its job_uid");
    return false;
}

/* `reason`: it is a POST of that; taken. */
static struct jv *ask(struct ctl *c, const char *id, const char *what, struct jv *reason)
{
    struct buf path = {0};
    buf_addf(&path, JOBS_PATH "/%s%s", id, what);
    struct jv *body = reason ? broker_post(c, DOOR_OPS, path.data, reason) : broker_get(c, DOOR_OPS, path.data);
    buf_free(&path);
    return body;
}

static void job_print(const struct jv *job)
{
    static const struct {
        const char *name, *key;
    } lines[] = {
        {"job", "id"},
        {"uid", "job_uid"},
        {"company", "company_id"},
        {"portal", "portal"},
        {"action", "action"},
        {"status", "status"},
        {"error", "error"},
        {"message", "message"},
        {"HTTP", "robot_status"},
        {"said", "robot_error"},
        {"", "robot_message"},
        {"attempts", "attempts"},
        {"priority", "priority"},
        {"batch", "batch_id"},
        {"robot", "worker"},
        {"session", "session_id"},
        {"created", "created_at"},
        {"available", "available_at"},
        {"started", "started_at"},
        {"finished", "finished_at"},
    };
    char room[TEXT_ROOM];
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        ctl_field(lines[i].name, broker_text(job, lines[i].key, room));
}

static void timeline_print(const struct jv *timeline)
{
    static const char *const heads[] = {"AT (UTC)", "EVENT", "~ROBOT", "1~DISPATCHER", "~DETAIL", NULL};
    static const char *const keys[] = {"event", "worker", "dispatcher", "detail"};
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(timeline); i++) {
        const struct jv *e = jv_at(timeline, i);
        const char *at = jv_str(jv_get(e, "at"));
        if (at && strlen(at) >= 23) /* with its milliseconds */
            table_addf(table, "%.10s %.12s", at, at + 11);
        else
            table_add(table, at);
        for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            broker_cell(table, e, keys[k]);
    }
    putchar('\n');
    table_print(&table, "no timeline is kept of it any more");
}

/* "log-in done; steps failed: step_failed" of a round's, else how it ended. */
static void ended_cell(struct table *table, const struct jv *attempt)
{
    const struct jv *steps = jv_get(attempt, "steps");
    const char *outcome = jv_str(jv_get(attempt, "outcome")), *end = jv_str(jv_get(steps, "outcome")),
               *error = jv_str(jv_get(steps, "error"));
    if (end)
        table_addf(table, "log-in %s; steps %s%s%s", outcome, end, error ? ": " : "", error ? error : "");
    else
        table_add(table, outcome);
}

/* A job that was put back by hand, or whose attempt was given back, counts from there again. */
static void try_cell(struct table *table, const struct jv *attempt, int64_t *last)
{
    int64_t n = 0;
    jv_int(jv_get(attempt, "n"), &n);
    table_addf(table, "%lld%s", (long long)n, n <= *last ? " again" : "");
    *last = n;
}

/* Where its attempts' time went, and what the robots said. */
static void attempts_print(const struct jv *attempts)
{
    static const char *const heads[] = {">TRY",   "~~ROBOT",      ">WAITED",  ">ROBOT'S", "ENDED",
                                        "4>HTTP", "~~ROBOT SAID", "~MESSAGE", NULL};
    static const char *const keys[] = {"robot_status", "robot_error", "robot_message"};
    int64_t last = 0;
    if (!jv_len(attempts))
        return;
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(attempts); i++) {
        const struct jv *a = jv_at(attempts, i);
        static const char *const times[] = {"queued_ms", "robot_ms"};
        try_cell(table, a, &last);
        broker_cell(table, a, "worker");
        for (unsigned k = 0; k < 2; k++) {
            int64_t ms;
            if (jv_int(jv_get(a, times[k]), &ms))
                table_addf(table, "%lld.%03lld s", (long long)(ms / 1000), (long long)(ms % 1000));
            else
                table_add(table, NULL);
        }
        ended_cell(table, a);
        for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            broker_cell(table, a, keys[k]);
    }
    putchar('\n');
    table_print(&table, "");
}

static bool is_ended(const struct jv *job)
{
    const char *status = jv_str(jv_get(job, "status"));
    return status &&
           (strcmp(status, "done") == 0 || strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0);
}

enum ctl_exit jobs_show(struct ctl *c)
{
    const char *id = c->args.word[0];
    if (!id_ok(c, id))
        return CTL_USAGE;
    struct jv *body = ask(c, id, "", NULL), *why = NULL;
    if (!body)
        return CTL_FAILED;
    const struct jv *job = jv_get(body, "job");
    if (!is_ended(job) && !(why = ask(c, id, "/why", NULL))) {
        jv_free(body);
        return CTL_FAILED;
    }
    if (c->args.json) {
        jv_set(body, "why", jv_copy(jv_get(why, "why")));
        jv_free(why);
        return ctl_json(body);
    }
    job_print(job);
    const struct jv *reasons = jv_get(why, "why");
    char text[600];
    for (size_t i = 0; i < jv_len(reasons); i++)
        ctl_field(i ? "" : "why", broker_why(jv_at(reasons, i), text, sizeof(text)));
    attempts_print(jv_get(job, "attempts_log"));
    timeline_print(jv_get(job, "timeline"));
    jv_free(why);
    jv_free(body);
    return CTL_DONE;
}

/* ---- retry, cancel ------------------------------------------------------------------------------------------ */

/* Each of the jobs named; one that is refused does not hold up the others. */
static enum ctl_exit change(struct ctl *c, const char *what, const char *done, const char *asked)
{
    bool is_json = c->args.json, failed = false;
    const char *reason;
    if (!c->args.n_words == !bulk_is_asked(c))
        return ctl_usage(
            c, c->args.n_words
                   ? "give IDs, or which jobs by options such as --batch or --robot-error; not both"
                   : "something is missing: IDs, or which jobs by options such as --batch or --robot-error");
    if (!c->args.n_words)
        return bulk_change(c, what + 1, 0);
    if (c->args.n[OPT_PREVIEW])
        return ctl_usage(c, "--preview goes with options such as --batch, not with IDs");
    for (unsigned i = 0; i < c->args.n_words; i++)
        if (!id_ok(c, c->args.word[i]))
            return CTL_USAGE;
    if (!args_reason(c, &reason))
        return CTL_USAGE;
    struct jv *list = jv_new_array();
    c->args.json = false; /* reasons go to standard error, one object to standard output */
    for (unsigned i = 0; i < c->args.n_words; i++) {
        const char *id = c->args.word[i];
        struct jv *body = ask(c, id, what, broker_reason(c)), *one = jv_new_object();
        const char *status = jv_str(jv_get(body, "status"));
        failed |= !body;
        if (body && !is_json)
            printf("job %s %s\n", id, status && strcmp(status, "running") == 0 ? asked : done);
        jv_set_str(one, "id", id);
        jv_set_bool(one, "ok", body != NULL);
        jv_set_str(one, "status", status);
        jv_push(list, one);
        jv_free(body);
    }
    c->args.json = is_json;
    return ctl_each(c, "jobs", list, failed);
}

enum ctl_exit jobs_retry(struct ctl *c)
{
    return change(c, "/retry", "is queued again", "is queued again");
}

enum ctl_exit jobs_cancel(struct ctl *c)
{
    return change(c, "/cancel", "is cancelled", "runs just now; it was asked to stop");
}
