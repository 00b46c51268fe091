/* SPDX-License-Identifier: MIT */
/*
 * session_bulk.c - `chasqui sessions close` and `migrate` without an ID: all
 * active sessions that the options find, each by itself, so that one that is
 * refused does not hold up the others. Nothing begins before all were found.
 */
#include "ctl/session_bulk.h"

#include "common/clock.h"
#include "ctl/broker.h"
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#define FOUND_MAX 100000

bool session_bulk_is_asked(const struct ctl *c)
{
    return c->args.n[OPT_WORKER] || c->args.n[OPT_PORTAL] || c->args.n[OPT_COMPANY] || c->args.n[OPT_IDLE];
}

struct wanted {
    const char *portal; /* NULL = any */
    uint64_t idle_s;
    int64_t now_ms;
};

/* By the time of its last use; a session that does not tell it is not taken for idle. */
static bool is_wanted(const struct wanted *w, const struct jv *session)
{
    const char *portal = jv_str(jv_get(session, "portal")), *used = jv_str(jv_get(session, "last_activity_at"));
    int64_t at_ms;
    if (!jv_str(jv_get(session, "session_id")) || (w->portal && (!portal || strcmp(portal, w->portal) != 0)))
        return false;
    return !w->idle_s ||
           (used && clock_read(used, strlen(used), &at_ms) && w->now_ms - at_ms >= (int64_t)w->idle_s * 1000);
}

static bool query_make(struct ctl *c, struct wanted *w, struct buf *query)
{
    const char *worker = args_value(&c->args, OPT_WORKER), *idle = args_value(&c->args, OPT_IDLE);
    uint64_t company_id;
    w->portal = args_value(&c->args, OPT_PORTAL);
    buf_adds(query, "&state=active");
    if ((worker && !args_worker_name(c, worker)) || (w->portal && !args_portal_ok(c, w->portal)) ||
        (c->args.n[OPT_COMPANY] && !args_company(c, &company_id)) ||
        (idle && !args_duration(c, "--idle", idle, AHEAD_DAYS_MAX, &w->idle_s)))
        return false;
    broker_query_add(c, query, OPT_WORKER, "worker");
    broker_query_add(c, query, OPT_COMPANY, "company_id");
    return true;
}

static bool one_change(struct ctl *c, const struct jv *session, const char *what)
{
    struct buf path = {0};
    buf_adds(&path, "/api/v1/ops/sessions/");
    http_escape(&path, jv_str(jv_get(session, "session_id")));
    buf_addf(&path, "/%s", what);
    struct jv *body = broker_post(c, DOOR_OPS, path.data, broker_reason(c));
    buf_free(&path);
    jv_free(body);
    return body != NULL;
}

static enum ctl_exit told(struct ctl *c, const char *done, uint64_t n, uint64_t n_failed)
{
    char amount[TEXT_AMOUNT], number[TEXT_NUMBER];
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", !n_failed);
        jv_set_bool(body, "preview", c->args.n[OPT_PREVIEW] > 0);
        jv_set_int(body, "n", (int64_t)n);
        jv_set_int(body, "refused", (int64_t)n_failed);
        ctl_json(body);
    } else if (n_failed) {
        ctl_say(c, "%s %s %s; %s refused", amount_text(n, "session", amount), n == 1 ? "is" : "are", done,
                number_text(n_failed, number));
    } else {
        ctl_say(c, "%s %s %s", amount_text(n, "session", amount),
                c->args.n[OPT_PREVIEW] ? "would be"
                : n == 1               ? "is"
                                       : "are",
                done);
    }
    return n_failed ? CTL_FAILED : CTL_DONE;
}

enum ctl_exit session_bulk(struct ctl *c, const char *what, const char *done)
{
    bool is_preview = c->args.n[OPT_PREVIEW] > 0, is_json = c->args.json, more;
    struct wanted w = {.now_ms = clock_unix_ms()};
    struct buf query = {0};
    uint64_t n = 0, n_failed = 0;
    const char *reason;
    if (!query_make(c, &w, &query) || !args_reason(c, &reason)) {
        buf_free(&query);
        return CTL_USAGE;
    }
    struct jv *list = broker_list(c, DOOR_OPS, "/api/v1/ops/sessions", query.data, "sessions", FOUND_MAX, &more);
    buf_free(&query);
    if (!list)
        return CTL_FAILED;
    c->args.json = false; /* reasons go to standard error, one object to standard output */
    for (size_t i = 0; i < jv_len(list); i++) {
        if (!is_wanted(&w, jv_at(list, i)))
            continue;
        if (is_preview || one_change(c, jv_at(list, i), what))
            n++;
        else
            n_failed++;
    }
    c->args.json = is_json;
    jv_free(list);
    return told(c, done, n, n_failed);
}
