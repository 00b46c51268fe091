/* SPDX-License-Identifier: MIT */
/* params_look.c - filters of the lists in which operators look back: the audit trail, and failures by class. Pure,
 * like params.c. */
#include "broker/params.h"

#include "common/clock.h"

#define BACK_MAX_S (366ull * 86400)

/* Reads a text that is compared with a column. */
static void query_text(const struct query *q, const char *name, size_t max, struct str *out, struct jv **errors)
{
    const struct str *s = query_get(q, name);
    if (s && (s->len > max || !jv_text_ok(s->p, s->len)))
        errors_add(errors, name, "is too long, or no text");
    else if (s)
        *out = *s;
}

/* Reads a time, or a number of seconds ago. For the latter the database's clock is used. */
void query_since(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "since");
    int64_t at_ms;
    uint64_t seconds;
    if (!s)
        return;
    if (decimal_read(*s, 1, &seconds) && seconds <= BACK_MAX_S)
        r->for_ms = seconds * 1000;
    else if (clock_read(s->p, s->len, &at_ms) && at_ms > 0)
        r->since_ms = (uint64_t)at_ms;
    else
        errors_add(errors, "since",
                   "must be a time in UTC like 2026-01-31T06:00:00Z, or seconds ago (1 to 31622400)");
}

void query_until(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "until");
    int64_t at_ms;
    if (s && clock_read(s->p, s->len, &at_ms) && at_ms > 0)
        r->until_ms = (uint64_t)at_ms;
    else if (s)
        errors_add(errors, "until", "must be a time in UTC like 2026-01-31T06:00:00Z");
}

void params_audit(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    query_search(q, r, errors);
    query_text(q, "actor", 160, &r->actor, errors);
    query_text(q, "action", 64, &r->action, errors);
    query_text(q, "subject", 160, &r->subject, errors);
    query_since(q, r, errors);
    query_page(q, r, errors);
}

void params_errors(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    if (query_get(q, "portal"))
        query_portal(q, r, errors);
    query_number(q, "batch_id", 1, 0, &r->batch_id, errors);
    query_since(q, r, errors);
    query_until(q, r, errors);
}

void params_history(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    static const uint64_t ranges_s[] = {900, 3600, 86400, 604800};
    const struct str *s = query_get(q, "range");
    uint64_t range_s = 0;
    bool is_one = !s;
    r->for_ms = 86400000;
    for (unsigned i = 0; s && decimal_read(*s, 1, &range_s) && i < sizeof(ranges_s) / sizeof(*ranges_s); i++)
        is_one |= ranges_s[i] == range_s;
    if (!is_one)
        errors_add(errors, "range", "must be 900, 3600, 86400 or 604800 seconds");
    else if (s)
        r->for_ms = range_s * 1000;
    if (query_get(q, "portal"))
        query_portal(q, r, errors);
    query_worker(q, r, errors);
}

void params_refused(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    if (query_get(q, "portal"))
        query_portal(q, r, errors);
    query_number(q, "company_id", 1, 0, &r->company_id, errors);
    query_page(q, r, errors);
}
