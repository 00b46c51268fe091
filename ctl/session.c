/* SPDX-License-Identifier: MIT */
/*
 * session.c - `chasqui sessions`: through a broker, because closing and moving
 * a session calls robots, and only dispatchers do.
 */
#include "ctl/ctl.h"

#include "ctl/broker.h"
#include "ctl/session_bulk.h"

#include <stdio.h>
#include <string.h>

#define SESSIONS_PATH "/api/v1/ops/sessions"
#define SESSION_ID_CHARACTERS_MAX 100

/* ---- list --------------------------------------------------------------------------------------------------- */

static const char *const states[] = {"live",   "opening", "active", "closing",
                                     "closed", "expired", "lost",   "migrated"};

static bool query_make(struct ctl *c, struct buf *out)
{
    const char *state = args_value(&c->args, OPT_STATE), *worker = args_value(&c->args, OPT_WORKER);
    uint64_t company_id;
    if (state) {
        unsigned i = 0;
        while (i < sizeof(states) / sizeof(*states) && strcmp(states[i], state) != 0)
            i++;
        if (i == sizeof(states) / sizeof(*states))
            return ctl_usage(c,
                             "--state must be live, opening, active, closing, closed, expired, lost or migrated"),
                   false;
        buf_addf(out, "&state=%s", state);
    }
    if (c->args.n[OPT_COMPANY]) {
        if (!args_company(c, &company_id))
            return false;
        buf_addf(out, "&company_id=%llu", (unsigned long long)company_id);
    }
    if (worker) {
        if (!args_worker_name(c, worker))
            return false;
        buf_adds(out, "&worker=");
        http_escape(out, worker);
    }
    return true;
}

static void session_row(struct table *table, const struct jv *s)
{
    static const char *const keys[] = {"session_id", "company_id", "portal", "worker",
                                       "state",      "reason",     "job_id", "last_activity_at"};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        broker_cell(table, s, keys[i]);
}

static enum ctl_exit sessions_show(struct ctl *c, struct jv *list, bool more)
{
    static const char *const heads[] = {"SESSION",   ">COMPANY", "2PORTAL",          "5~~ROBOT", "=STATE",
                                        "3~~REASON", "1>JOB",    "4LAST USED (UTC)", NULL};
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(body, "sessions", list);
        jv_set_bool(body, "more", more);
        return ctl_json(body);
    }
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++)
        session_row(table, jv_at(list, i));
    table_print(&table, "no such sessions");
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    jv_free(list);
    return CTL_DONE;
}

enum ctl_exit sessions_list(struct ctl *c)
{
    struct buf query = {0};
    uint64_t limit;
    bool more;
    buf_adds(&query, "");
    if (!query_make(c, &query) || !broker_limit(c, &limit)) {
        buf_free(&query);
        return CTL_USAGE;
    }
    struct jv *list = broker_list(c, DOOR_OPS, SESSIONS_PATH, query.data, "sessions", limit, &more);
    buf_free(&query);
    return list ? sessions_show(c, list, more) : CTL_FAILED;
}

/* ---- close, migrate ----------------------------------------------------------------------------------------- */

static bool id_ok(struct ctl *c, const char *id)
{
    if (*id && strlen(id) <= 4 * SESSION_ID_CHARACTERS_MAX)
        return true;
    return ctl_usage(c, "ID is a session's id of 1 to %d characters", SESSION_ID_CHARACTERS_MAX), false;
}

/* What the broker answers; NULL after saying why not. */
static struct jv *ask(struct ctl *c, const char *id, const char *what)
{
    struct buf path = {0};
    buf_adds(&path, SESSIONS_PATH "/");
    http_escape(&path, id);
    buf_addf(&path, "/%s", what);
    struct jv *body = broker_post(c, DOOR_OPS, path.data, broker_reason(c));
    buf_free(&path);
    return body;
}

/* Each by itself: one that is refused does not hold up the others. */
static enum ctl_exit change_each(struct ctl *c, const char *what, const char *done)
{
    bool is_json = c->args.json, failed = false;
    struct jv *list = jv_new_array();
    c->args.json = false; /* reasons go to standard error, one object to standard output */
    for (unsigned i = 0; i < c->args.n_words; i++) {
        const char *id = c->args.word[i];
        struct jv *body = ask(c, id, what), *one = jv_new_object();
        failed |= !body;
        if (body && !is_json)
            ctl_say(c, "session %s %s", id, done);
        jv_set_str(one, "session_id", id);
        jv_set_bool(one, "ok", body != NULL);
        jv_set_str(one, "state", jv_str(jv_get(body, "state")));
        jv_push(list, one);
        jv_free(body);
    }
    c->args.json = is_json;
    return ctl_each(c, "sessions", list, failed);
}

static enum ctl_exit change(struct ctl *c, const char *what, const char *done, const char *all_done)
{
    const char *reason;
    if (!c->args.n_words == !session_bulk_is_asked(c))
        return ctl_usage(
            c, c->args.n_words
                   ? "give IDs, or which sessions by --worker, --portal, --company, --idle; not both"
                   : "something is missing: IDs, or which sessions by --worker, --portal, --company, --idle");
    if (!c->args.n_words)
        return session_bulk(c, what, all_done);
    if (c->args.n[OPT_PREVIEW])
        return ctl_usage(c, "--preview goes with options such as --worker, not with IDs");
    for (unsigned i = 0; i < c->args.n_words; i++)
        if (!id_ok(c, c->args.word[i]))
            return CTL_USAGE;
    if (!args_reason(c, &reason))
        return CTL_USAGE;
    if (c->args.n_words > 1)
        return change_each(c, what, done);
    struct jv *body = ask(c, c->args.word[0], what);
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    jv_free(body);
    return ctl_say(c, "session %s %s", c->args.word[0], done);
}

enum ctl_exit sessions_close(struct ctl *c)
{
    return change(c, "close", "is closed", "closed");
}

enum ctl_exit sessions_migrate(struct ctl *c)
{
    return change(c, "migrate", "will move to another robot; chasqui sessions list shows when",
                  "moved to other robots");
}
