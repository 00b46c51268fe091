/* SPDX-License-Identifier: MIT */
/* batch.c - `chasqui batch`: how far batches are, their items, ending them; through a broker. batch submit is in
 * submit.c. */
#include "ctl/batch.h"

#include "common/clock.h"
#include "ctl/bulk.h"
#include "ctl/csv_out.h"
#include "ctl/plain.h"
#include "ctl/progress.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define BATCHES_PATH "/api/v1/app/batches"
#define OPS_BATCHES_PATH "/api/v1/ops/batches"
#define POLL_MS 1000
#define BATCHES_LOOKED 1000 /* for a name */
#define PATIENCE_MS 60000   /* how long a followed batch may be out of reach: a broker that is restarted */

/* ---- status ------------------------------------------------------------------------------------------------- */

static struct buf batch_path(uint64_t id, const char *more)
{
    struct buf path = {0};
    buf_addf(&path, BATCHES_PATH "/%llu%s", (unsigned long long)id, more);
    return path;
}

static bool is_ended(const struct jv *batch)
{
    return jv_str(jv_get(batch, "finished_at")) != NULL;
}

static int64_t count_of(const struct jv *batch, const char *state)
{
    int64_t n = 0;
    jv_int(jv_get(jv_get(batch, "counts"), state), &n);
    return n;
}

/* What its items do after their log-in. */
static void then_print(const struct jv *batch)
{
    struct buf text = {0};
    const struct jv *then = jv_get(batch, "then");
    bool closes = false;
    for (size_t i = 0; i < jv_len(then); i++)
        buf_addf(&text, "%s%s", i ? ", " : "", jv_str(jv_at(then, i)));
    if (jv_bool(jv_get(batch, "close"), &closes) && closes)
        buf_addf(&text, "%sclose", text.len ? ", " : "");
    if (text.len)
        ctl_field("then", text.data);
    buf_free(&text);
}

static int64_t number_of(const struct jv *v, const char *key)
{
    int64_t n;
    return jv_int(jv_get(v, key), &n) ? n : -1;
}

/* How the schedule's run before ended. */
static void previous_print(const struct jv *batch)
{
    const struct jv *p = jv_get(batch, "previous");
    char text[200], took[TEXT_NUMBER];
    if (jv_type(p) != JV_OBJECT)
        return;
    int64_t s = number_of(p, "took_s");
    snprintf(text, sizeof(text), "batch %lld: %lld done, %lld failed, %lld cancelled of %lld%s%s",
             (long long)number_of(p, "id"), (long long)count_of(p, "done"), (long long)count_of(p, "failed"),
             (long long)count_of(p, "cancelled"), (long long)number_of(p, "total"),
             s < 0 ? "; it has not ended: both runs go on side by side" : ", in ",
             s < 0 ? "" : duration_text((uint64_t)s, took));
    ctl_field("run before", text);
}

static const char *waits_label(const struct jv *why)
{
    const char *reason = jv_str(jv_get(why, "reason"));
    return reason && strcmp(reason, "waiting_for_place") == 0 ? "waits" : "stands";
}

static void batch_print(const struct jv *batch)
{
    static const char *const keys[] = {"id", "name", "status", "portal", "action", "priority", "made_by", "total"};
    static const char *const states[] = {"queued", "running", "retrying", "done", "failed", "cancelled"};
    static const char *const times[] = {"created_at", "available_at", "finished_at"}, *const names[] = {
                                                                                          "created", "available",
                                                                                          "finished"};
    char room[TEXT_ROOM], number[TEXT_NUMBER];
    char left[400];
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        ctl_field(i == 0                            ? "batch"
                  : strcmp(keys[i], "made_by") == 0 ? "made by"
                                                    : keys[i],
                  broker_text(batch, keys[i], room));
    then_print(batch);
    for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++)
        ctl_field(states[i], number_text((uint64_t)count_of(batch, states[i]), number));
    const struct jv *waits = jv_get(batch, "waits_for");
    for (size_t i = 0; i < jv_len(waits); i++)
        ctl_field(i ? "" : waits_label(jv_at(waits, i)), broker_why(jv_at(waits, i), left, sizeof(left)));
    if (progress_end_text(batch, left, sizeof(left)))
        ctl_field("left", left);
    for (unsigned i = 0; i < sizeof(times) / sizeof(*times); i++)
        ctl_field(names[i], broker_text(batch, times[i], room));
    if (number_of(batch, "took_s") >= 0)
        ctl_field("took", duration_text((uint64_t)number_of(batch, "took_s"), number));
    previous_print(batch);
}

static enum ctl_exit end_tell(struct ctl *c, struct jv *body)
{
    const struct jv *batch = jv_get(body, "batch");
    char id[TEXT_ROOM], done[TEXT_NUMBER], failed[TEXT_NUMBER], cancelled[TEXT_NUMBER];
    bool is_good = count_of(batch, "failed") == 0 && count_of(batch, "cancelled") == 0;
    if (c->args.json) {
        jv_set_bool(body, "ok", is_good);
        ctl_json(body);
    } else {
        plain_line(stdout, "batch %s is %s: %s done, %s failed, %s cancelled", broker_text(batch, "id", id),
                   jv_str(jv_get(batch, "status")), number_text((uint64_t)count_of(batch, "done"), done),
                   number_text((uint64_t)count_of(batch, "failed"), failed),
                   number_text((uint64_t)count_of(batch, "cancelled"), cancelled));
        jv_free(body);
    }
    return is_good ? CTL_DONE : CTL_FAILED;
}

enum ctl_exit batch_follow(struct ctl *c, uint64_t id)
{
    struct progress p;
    struct http_answer a;
    struct buf path = batch_path(id, "");
    uint64_t seen_ms = clock_ms();
    progress_begin(&p);
    for (;; poll(NULL, 0, POLL_MS)) {
        http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_api_url, .path = path.data},
                 &a);
        bool is_good = broker_is_good(&a);
        if (is_good) {
            seen_ms = clock_ms();
            progress_batch(&p, jv_get(a.body, "batch"));
        }
        bool is_over = is_good ? is_ended(jv_get(a.body, "batch"))
                               : (a.status > 0 && a.status < 500) || clock_ms() > seen_ms + PATIENCE_MS;
        if (is_over) {
            progress_end(&p);
            buf_free(&path);
            if (is_good)
                return end_tell(c, a.body);
            broker_refused(c, DOOR_APP, &a);
            jv_free(a.body);
            return CTL_FAILED;
        }
        jv_free(a.body);
    }
}

static bool id_read(struct ctl *c, uint64_t *out)
{
    return args_number(c, "ID", c->args.word[0], 1, INT64_MAX, out);
}

/* The newest batch, of that name unless it is NULL. A schedule's batches have its name. */
static enum ctl_exit newest_find(struct ctl *c, const char *name, uint64_t *out)
{
    bool more;
    int64_t id = 0;
    struct jv *list = broker_list(c, DOOR_OPS, OPS_BATCHES_PATH, "", "batches", name ? BATCHES_LOOKED : 1, &more);
    if (!list)
        return CTL_FAILED;
    for (size_t i = 0; i < jv_len(list) && !id; i++) {
        const char *its = jv_str(jv_get(jv_at(list, i), "name"));
        if (!name || (its && strcmp(its, name) == 0))
            jv_int(jv_get(jv_at(list, i), "id"), &id);
    }
    jv_free(list);
    *out = (uint64_t)id;
    if (id)
        return CTL_DONE;
    if (!name)
        return ctl_fail(c, "there are no batches");
    return more ? ctl_fail(c, "none of the newest %d batches is named %.100s", BATCHES_LOOKED, name)
                : ctl_fail(c, "there is no batch %.100s", name);
}

static bool is_name(const char *word)
{
    return word[strspn(word, "0123456789")] != 0;
}

/* An ID or a NAME; the newest of all without a word. */
static enum ctl_exit batch_meant(struct ctl *c, uint64_t *out)
{
    const char *word = c->args.n_words ? c->args.word[0] : NULL;
    if (word && !is_name(word))
        return id_read(c, out) ? CTL_DONE : CTL_USAGE;
    return newest_find(c, word, out);
}

enum ctl_exit batch_option(struct ctl *c)
{
    const char *name = args_value(&c->args, OPT_BATCH);
    uint64_t id;
    if (!name || !is_name(name))
        return CTL_DONE;
    enum ctl_exit code = newest_find(c, name, &id);
    if (code != CTL_DONE)
        return code;
    plain_line(stderr, "%s is batch %llu", name, (unsigned long long)id);
    snprintf(c->args.batch, sizeof(c->args.batch), "%llu", (unsigned long long)id);
    c->args.value[OPT_BATCH][0] = c->args.batch;
    return CTL_DONE;
}

/* The same, and says which batch it is when it was named: what is shown of it does not. */
static enum ctl_exit batch_named(struct ctl *c, uint64_t *out)
{
    const char *word = c->args.word[0];
    enum ctl_exit code = batch_meant(c, out);
    if (code == CTL_DONE && is_name(word))
        plain_line(stderr, "%s is batch %llu", word, (unsigned long long)*out);
    return code;
}

enum ctl_exit batch_status(struct ctl *c)
{
    uint64_t id;
    if (c->args.n[OPT_FOLLOW] && c->args.n[OPT_COURSE])
        return ctl_usage(c, "give one of --course and --follow");
    enum ctl_exit code = batch_meant(c, &id);
    if (code != CTL_DONE)
        return code;
    if (c->args.n[OPT_FOLLOW])
        return batch_follow(c, id);
    bool with_course = c->args.n[OPT_COURSE] > 0;
    struct buf path = {0};
    buf_addf(&path, "%s/%llu%s", with_course ? OPS_BATCHES_PATH : BATCHES_PATH, (unsigned long long)id,
             with_course ? "?course=1" : "");
    struct jv *body = broker_get(c, with_course ? DOOR_OPS : DOOR_APP, path.data);
    buf_free(&path);
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    batch_print(jv_get(body, "batch"));
    if (with_course)
        batch_course_print(jv_get(body, "course"));
    jv_free(body);
    return CTL_DONE;
}

/* ---- items -------------------------------------------------------------------------------------------------- */

static enum ctl_exit list_end(struct ctl *c, struct jv *list, bool more, const char *name,
                              const char *const *heads, const char *const *keys, const char *empty)
{
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(body, name, list);
        jv_set_bool(body, "more", more);
        return ctl_json(body);
    }
    if (c->args.n[OPT_CSV]) {
        csv_print(stdout, list, keys);
        if (more)
            fprintf(stderr, "there are more; --limit shows them\n");
        jv_free(list);
        return CTL_DONE;
    }
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++)
        for (unsigned k = 0; heads[k]; k++) {
            const struct jv *row = jv_at(list, i), *counts = jv_get(row, "counts");
            broker_cell(table, jv_get(row, keys[k]) ? row : counts, keys[k]);
        }
    table_print(&table, empty);
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    jv_free(list);
    return CTL_DONE;
}

/* Those of one company; takes the list. */
static struct jv *of_company(struct jv *list, uint64_t company_id)
{
    struct jv *found = jv_new_array();
    for (size_t i = 0; i < jv_len(list); i++)
        if (number_of(jv_at(list, i), "company_id") == (int64_t)company_id)
            jv_push(found, jv_copy(jv_at(list, i)));
    jv_free(list);
    return found;
}

enum ctl_exit batch_items(struct ctl *c)
{
    static const char *const heads[] = {">INDEX",   ">COMPANY", "=STATUS",  ">JOB",   "1>TRIES",      "2~~ROBOT",
                                        "3SESSION", "~~ERROR",  "~MESSAGE", "4>HTTP", "~~ROBOT SAID", NULL};
    static const char *const keys[] = {"index",       "company_id",    "status", "job_id",  "attempts",
                                       "worker",      "session_id",    "error",  "message", "robot_status",
                                       "robot_error", "robot_message", NULL};
    static const char *const columns[] = {"index",         "company_id", "status",       "finished_at",
                                          "error",         "message",    "robot_status", "robot_error",
                                          "robot_message", "step",       "attempts",     "job_id",
                                          "job_uid",       "worker",     "session_id",   NULL};
    struct buf query = {0};
    uint64_t id, limit, company_id = 0;
    bool more;
    if (!args_status(c) || !args_errors(c) || (c->args.n[OPT_COMPANY] && !args_company(c, &company_id)) ||
        !broker_limit(c, &limit))
        return CTL_USAGE;
    enum ctl_exit code = batch_named(c, &id);
    if (code != CTL_DONE)
        return code;
    bool is_csv = c->args.n[OPT_CSV] > 0;
    if (company_id) /* a company has few: all are looked at */
        limit = INT64_MAX;
    struct buf path = batch_path(id, "/items");
    buf_adds(&query, "");
    broker_query_add(c, &query, OPT_STATUS, "status");
    broker_query_add(c, &query, OPT_ERROR, "error");
    broker_query_add(c, &query, OPT_ROBOT_ERROR, "robot_error");
    struct jv *list = broker_list(c, DOOR_APP, path.data, query.data, "items", limit, &more);
    buf_free(&path);
    buf_free(&query);
    if (list && company_id)
        list = of_company(list, company_id);
    if (list && !c->args.json)
        broker_done_quiet(list);
    return list
               ? list_end(c, list, more, "items", heads, is_csv && !c->args.json ? columns : keys, "no such items")
               : CTL_FAILED;
}

/* ---- results ------------------------------------------------------------------------------------------------ */

static bool piece_print(void *arg, const char *piece, size_t len)
{
    (void)arg;
    return fwrite(piece, 1, len, stdout) == len;
}

enum ctl_exit batch_results(struct ctl *c)
{
    uint64_t id;
    struct http_answer answer;
    enum ctl_exit code = batch_named(c, &id);
    if (code != CTL_DONE)
        return code;
    struct buf path = batch_path(id, "/results");
    struct http_request request = {
        .method = "GET", .base_url = c->conf->ctl_api_url, .path = path.data, .follow = piece_print};
    http_ask(c, &request, &answer);
    buf_free(&path);
    if (answer.status != 200)
        code = broker_refused(c, DOOR_APP, &answer);
    else if (fflush(stdout) != 0)
        code = ctl_fail(c, "standard output takes no more");
    jv_free(answer.body);
    return code;
}

/* ---- retry -------------------------------------------------------------------------------------------------- */

enum ctl_exit batch_retry(struct ctl *c)
{
    uint64_t id;
    enum ctl_exit code = bulk_options_ok(c) ? batch_named(c, &id) : CTL_USAGE;
    return code == CTL_DONE ? bulk_change(c, "retry", id) : code;
}

/* ---- list, cancel ------------------------------------------------------------------------------------------- */

/* What holds all that waits of it, in a word: the status says running. */
static void held_set(struct jv *batch)
{
    const char *reason = jv_str(jv_get(jv_at(jv_get(batch, "waits_for"), 0), "reason"));
    jv_set_str(batch, "held",
               !reason                                     ? NULL
               : strcmp(reason, "paused") == 0             ? "paused"
               : strcmp(reason, "portal_unavailable") == 0 ? "portal down"
               : strcmp(reason, "waiting_for_place") == 0  ? "no place"
               : strcmp(reason, "no_robot") == 0           ? "no robot"
                                                           : NULL);
}

enum ctl_exit batch_list(struct ctl *c)
{
    static const char *const heads[] = {">BATCH",     "=STATUS", "6HELD",          "5~~NAME", "1~~ACTION",
                                        "3>PRIORITY", ">TOTAL",  ">DONE",          ">FAILED", ">CANCELLED",
                                        "2>RUNNING",  ">QUEUED", "4CREATED (UTC)", NULL};
    static const char *const keys[] = {"id",   "status", "held",      "name",    "action", "priority",  "total",
                                       "done", "failed", "cancelled", "running", "queued", "created_at"};
    uint64_t limit;
    bool more;
    if (!broker_limit(c, &limit))
        return CTL_USAGE;
    struct jv *list = broker_list(c, DOOR_OPS, OPS_BATCHES_PATH, "", "batches", limit, &more);
    for (size_t i = 0; list && !c->args.json && i < jv_len(list); i++)
        held_set(jv_at(list, i));
    return list ? list_end(c, list, more, "batches", heads, keys, "there are no batches") : CTL_FAILED;
}

/* Some of its items still run; false as well without an answer. */
static bool runs_still(struct ctl *c, uint64_t id)
{
    struct http_answer answer;
    struct buf path = batch_path(id, "");
    http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_api_url, .path = path.data},
             &answer);
    bool runs = broker_is_good(&answer) && count_of(jv_get(answer.body, "batch"), "running") > 0;
    buf_free(&path);
    jv_free(answer.body);
    return runs;
}

static enum ctl_exit cancel_preview(struct ctl *c, uint64_t id)
{
    char n[TEXT_AMOUNT], running[TEXT_NUMBER];
    struct buf path = batch_path(id, "");
    struct jv *body = broker_get(c, DOOR_APP, path.data);
    const struct jv *batch = jv_get(body, "batch");
    buf_free(&path);
    if (!body)
        return CTL_FAILED;
    int64_t runs = count_of(batch, "running"),
            all = count_of(batch, "queued") + count_of(batch, "retrying") + runs;
    jv_free(body);
    if (c->args.json) {
        struct jv *answer = jv_new_object();
        jv_set_int(answer, "n", all);
        jv_set_int(answer, "running", runs);
        jv_set_bool(answer, "preview", true);
        return ctl_json(answer);
    }
    return ctl_say(c, "%s would be cancelled; running now, and asked to stop: %s",
                   amount_text((uint64_t)all, "item", n), number_text((uint64_t)runs, running));
}

enum ctl_exit batch_cancel(struct ctl *c)
{
    struct http_answer answer;
    uint64_t id;
    enum ctl_exit code = batch_named(c, &id);
    if (code != CTL_DONE)
        return code;
    struct jv *reason = broker_reason(c), *body;
    if (!reason)
        return CTL_USAGE;
    if (c->args.n[OPT_PREVIEW]) {
        jv_free(reason);
        return cancel_preview(c, id);
    }
    if (args_value(&c->args, OPT_REASON)) { /* the application's route takes none */
        char path[80];
        snprintf(path, sizeof(path), OPS_BATCHES_PATH "/%llu/cancel", (unsigned long long)id);
        body = broker_post(c, DOOR_OPS, path, reason);
    } else {
        struct buf path = batch_path(id, "");
        broker_ask(c, DOOR_APP, &(struct http_request){.method = "DELETE", .path = path.data}, &answer);
        body = answer.body;
        buf_free(&path);
        jv_free(reason);
    }
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    jv_free(body);
    return ctl_say(c,
                   runs_still(c, id) ? "batch %llu is cancelled: what runs just now was asked to stop"
                                     : "batch %llu is cancelled",
                   (unsigned long long)id);
}

/* ---- priority ----------------------------------------------------------------------------------------------- */

enum ctl_exit batch_priority(struct ctl *c)
{
    uint64_t id, priority;
    char path[80];
    if (!args_number(c, "N", c->args.word[1], 0, 9, &priority))
        return CTL_USAGE;
    enum ctl_exit code = batch_named(c, &id);
    if (code != CTL_DONE)
        return code;
    struct jv *body = broker_reason(c);
    if (!body)
        return CTL_USAGE;
    jv_set_int(body, "priority", (int64_t)priority);
    snprintf(path, sizeof(path), OPS_BATCHES_PATH "/%llu/priority", (unsigned long long)id);
    struct jv *answer = broker_post(c, DOOR_OPS, path, body);
    if (!answer)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(answer);
    jv_free(answer);
    return ctl_say(c, "batch %llu has priority %u; what runs of it goes on", (unsigned long long)id,
                   (unsigned)priority);
}
