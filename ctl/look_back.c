/* SPDX-License-Identifier: MIT */
/* look_back.c - `chasqui errors` and `chasqui audit`: what failed, by class, and who did what; through a broker. */
#include "ctl/broker.h"

#include "ctl/csv_out.h"
#include "ctl/plain.h"
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#define ERRORS_PATH "/api/v1/ops/errors"
#define AUDIT_PATH "/api/v1/ops/audit"
#define TEXT_BYTES_MAX 160
#define SEARCH_BYTES_MAX 100

static bool text_ok(struct ctl *c, enum option_id id, size_t max)
{
    const char *text = args_value(&c->args, id);
    if (!text || (*text && strlen(text) <= max))
        return true;
    return ctl_usage(c, "--%s must be 1 to %zu bytes", option_table[id].name, max), false;
}

/* ---- errors ------------------------------------------------------------------------------------------------- */

static void class_row(struct table *table, const struct jv *one)
{
    static const char *const keys[] = {"error",    "robot_error", "kind",        "n",      "companies",
                                       "first_at", "last_at",     "last_job_id", "message"};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        broker_cell(table, one, keys[i]);
}

/* Is it the only class with its error? Else its error alone takes the others too. */
static bool is_alone(const struct jv *list, const char *error)
{
    unsigned n = 0;
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *other = jv_str(jv_get(jv_at(list, i), "error"));
        n += other && strcmp(other, error) == 0;
    }
    return n == 1;
}

/* It may be part of a line for a shell: a robot's word with characters that a shell obeys may not. */
static bool is_bare(const char *word)
{
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") == strlen(word);
}

/* The line that tries exactly a class again; only log-ins are tried again. */
static void retries_print(struct ctl *c, const struct jv *list)
{
    const char *portal = args_value(&c->args, OPT_PORTAL), *batch = args_value(&c->args, OPT_BATCH);
    bool has_any = false;
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *error = jv_str(jv_get(one, "error")), *said = jv_str(jv_get(one, "robot_error")),
                   *kind = jv_str(jv_get(one, "kind"));
        if (!error || !kind || strcmp(kind, "login") != 0 || !is_bare(error) ||
            (said ? !is_bare(said) : !is_alone(list, error)))
            continue;
        if (!has_any)
            puts("\nto try a class again, whenever it failed (--preview only counts):");
        has_any = true;
        plain_line(stdout, "  chasqui jobs retry --status failed --error %s%s%s%s%s%s%s --preview", error,
                   said ? " --robot-error " : "", said ? said : "", portal ? " --portal " : "",
                   portal ? portal : "", batch ? " --batch " : "", batch ? batch : "");
    }
}

enum ctl_exit errors_command(struct ctl *c)
{
    static const char *const heads[] = {"~~ERROR",      "2~~ROBOT SAID", "3KIND",      ">JOBS",     ">COMPANIES",
                                        "4FIRST (UTC)", "5LAST (UTC)",   "6>LAST JOB", "1~MESSAGE", NULL};
    static const char *const csv[] = {"error",   "robot_error", "kind",   "n",      "companies", "first_at",
                                      "last_at", "last_job_id", "portal", "worker", "message",   NULL};
    const char *portal = args_value(&c->args, OPT_PORTAL), *batch = args_value(&c->args, OPT_BATCH);
    struct buf query = {0};
    uint64_t n = 0;
    bool capped = false;
    char room[TEXT_ROOM];
    buf_adds(&query, ERRORS_PATH "?");
    if ((portal && !args_portal_ok(c, portal)) || (batch && !args_number(c, "--batch", batch, 1, INT64_MAX, &n)) ||
        !broker_since_add(c, &query) || !broker_until_add(c, &query)) {
        buf_free(&query);
        return CTL_USAGE;
    }
    broker_query_add(c, &query, OPT_PORTAL, "portal");
    broker_query_add(c, &query, OPT_BATCH, "batch_id");
    struct jv *body = broker_get(c, DOOR_OPS, query.data);
    buf_free(&query);
    const struct jv *list = jv_get(body, "errors");
    if (!body || (n && !jv_len(list) && !broker_has_batch(c, n))) {
        jv_free(body);
        return CTL_FAILED;
    }
    if (c->args.json)
        return ctl_json(body);
    if (c->args.n[OPT_CSV]) {
        csv_print(stdout, list, csv);
    } else {
        struct table *table = table_new(heads);
        for (size_t i = 0; i < jv_len(list); i++)
            class_row(table, jv_at(list, i));
        table_print(&table, "nothing failed");
        retries_print(c, list);
    }
    if (jv_bool(jv_get(body, "capped"), &capped) && capped) {
        const char *to = broker_text(body, "looked_to", room);
        fprintf(stderr, "only the newest %s failed jobs were looked at, back to %s\n",
                number_text(20000, (char[TEXT_NUMBER]){0}), to ? to : "-");
    }
    jv_free(body);
    return CTL_DONE;
}

/* ---- audit -------------------------------------------------------------------------------------------------- */

static enum ctl_exit audit_show(struct ctl *c, struct jv *list, bool more)
{
    static const char *const heads[] = {"AT (UTC)", "~~WHO", "~~WHAT", "~~ABOUT", "~DETAIL", "1~FROM", NULL};
    static const char *const keys[] = {"actor", "action", "subject", "detail", "peer"};
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(body, "audit", list);
        jv_set_bool(body, "more", more);
        return ctl_json(body);
    }
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *at = jv_str(jv_get(jv_at(list, i), "at"));
        if (at && strlen(at) >= 19)
            table_addf(table, "%.10s %.8s", at, at + 11);
        else
            table_add(table, at);
        for (unsigned k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            broker_cell(table, jv_at(list, i), keys[k]);
    }
    table_print(&table, "no such rows");
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    jv_free(list);
    return CTL_DONE;
}

enum ctl_exit audit_list(struct ctl *c)
{
    struct buf query = {0};
    uint64_t limit;
    bool more;
    buf_adds(&query, "");
    if (!text_ok(c, OPT_ACTION, 64) || !text_ok(c, OPT_ACTOR, TEXT_BYTES_MAX) ||
        !text_ok(c, OPT_SUBJECT, TEXT_BYTES_MAX) || !text_ok(c, OPT_SEARCH, SEARCH_BYTES_MAX) ||
        !broker_limit(c, &limit) || !broker_since_add(c, &query)) {
        buf_free(&query);
        return CTL_USAGE;
    }
    broker_query_add(c, &query, OPT_ACTION, "action");
    broker_query_add(c, &query, OPT_ACTOR, "actor");
    broker_query_add(c, &query, OPT_SUBJECT, "subject");
    broker_query_add(c, &query, OPT_SEARCH, "search");
    struct jv *list = broker_list(c, DOOR_OPS, AUDIT_PATH, query.data, "audit", limit, &more);
    buf_free(&query);
    return list ? audit_show(c, list, more) : CTL_FAILED;
}
