/* SPDX-License-Identifier: MIT */
/*
 * resend.c - `chasqui events resend`: rows of the timeline wait again to be told
 * outside. In steps, so that no transaction holds many of them.
 */
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#define STEP 1000
#define FOR_DAYS_MAX 366

struct resend {
    const char *actor;
    uint64_t for_s, n, last, step;
};

/* The events that are sent, as a list of SQL; a row that makes several events is in it several times. */
static const char told[] =
#define EVENT_KIND(event, is_of_logins, is_bare, name, subject) "'" event "', "
#include "dispatcher/store/event_kind.def"
#undef EVENT_KIND
    "''";
#define SQL_ROOM (sizeof(told) + 300)

static enum db_rc step_tx(struct db *db, void *arg)
{
    struct resend *r = arg;
    char sql[SQL_ROOM];
    r->step = 0;
    snprintf(
        sql, sizeof(sql),
        "SELECT MAX(id), COUNT(*) FROM (SELECT id FROM chasqui_job_events WHERE id > ? AND (out_state = 2 OR (? > 0 AND out_state IS NULL AND at >= "
        "NOW(6) - INTERVAL ? SECOND AND event IN (%s))) ORDER BY id LIMIT ?) t",
        told);
    TRY(db_query(db, sql, "uuuu", r->last, r->for_s, r->for_s, (uint64_t)STEP));
    if (!db_next(db) || db_is_null(db, 0))
        return DB_OK;
    uint64_t to = db_u64(db, 0);
    r->step = db_u64(db, 1);
    snprintf(
        sql, sizeof(sql),
        "UPDATE chasqui_job_events SET out_state = 1 WHERE id > ? AND id <= ? AND (out_state = 2 OR (? > 0 AND out_state IS NULL AND at >= NOW(6) - INTERVAL "
        "? SECOND AND event IN (%s)))",
        told);
    TRY(db_exec(db, sql, "uuuu", r->last, to, r->for_s, r->for_s));
    if (r->for_s)
        TRY(db_exec(db, "UPDATE chasqui_outbox_since SET since = LEAST(since, NOW(6) - INTERVAL ? SECOND)", "u",
                    r->for_s));
    r->last = to;
    return DB_OK;
}

static enum db_rc audit_tx(struct db *db, void *arg)
{
    struct resend *r = arg;
    char detail[40];
    snprintf(detail, sizeof(detail), "%llu events", (unsigned long long)r->n);
    return ctl_audit(db, r->actor, "events_resend", "events", detail);
}

enum ctl_exit events_resend(struct ctl *c)
{
    struct resend r = {.actor = c->actor};
    const char *for_text = args_value(&c->args, OPT_FOR);
    if (for_text && !args_duration(c, "--for", for_text, FOR_DAYS_MAX, &r.for_s))
        return CTL_USAGE;
    do {
        enum ctl_exit code = ctl_tx(c, step_tx, NULL, &r, "");
        if (code != CTL_DONE)
            return code;
        r.n += r.step;
    } while (r.step == STEP);
    if (r.n && ctl_tx(c, audit_tx, NULL, &r, "") != CTL_DONE)
        return CTL_FAILED;
    return r.n ? ctl_say(c, "%llu events wait to be told again", (unsigned long long)r.n)
               : ctl_say(c, "no event was given up");
}
