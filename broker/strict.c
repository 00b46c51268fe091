/*
 * strict.c - what operators' routes know. A name that is not known is refused: an operator who misspells a filter or a
 * scope must not act on everything. A route without a row knows no query, and `reason` in its body.
 */
#include "broker/broker.h"

#include <stdlib.h>
#include <string.h>

static const struct known {
    void (*handle)(struct exchange *x);
    const char *query, *body; /* names, a space between two */
} rows[] = {
    {ops_stats, "history", ""},
    {ops_events, "stats", ""},
    {ops_sessions, "state session_id worker company_id cursor limit", ""},
    {ops_jobs, "status portal company_id batch_id worker error robot_error search cursor limit", ""},
    {ops_batches, "status cursor limit", ""},
    {ops_audit, "search actor action subject since cursor limit", ""},
    {ops_errors, "portal batch_id since", ""},
    {ops_tokens, "cursor limit", ""},
    {ops_token_create, "", "name abilities companies all_companies company_id rate_per_minute expires_at expires_s reason"},
    {ops_jobs_bulk, "", "action filter preview reason"},
    {ops_batch_priority, "", "priority reason"},
    {ops_queue_pause, "", "reason for_s expires_s until portal action batch_id"},
    {ops_queue_resume, "", "reason portal action batch_id"},
    {ops_worker_drain, "", "reason deadline_s"},
    {ops_worker_add, "", "name base_url viewer_url capacity reason"},
    {ops_worker_set, "", "base_url viewer_url capacity reason"},
    {ops_worker_disable, "", "reason force"},
};

static bool is_among(const char *names, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = names; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, name, n) == 0)
            return true;
        at += n;
    }
    return false;
}

struct look {
    const char *names;
    struct jv **errors;
};

static void look(const struct look *l, const char *name)
{
    if (!is_among(l->names, name))
        errors_add_named(l->errors, name, "is not known here");
}

static void look_member(void *arg, const char *key, struct jv *v)
{
    (void)v;
    look(arg, key);
}

void strict_look(const struct exchange *x, struct jv **errors)
{
    const struct known *k = NULL;
    struct query q;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].handle == x->route->handle)
            k = &rows[i];
    char *copy = x->query ? strdup(x->query) : NULL;
    struct look query = {k ? k->query : "", errors}, body = {k ? k->body : "reason", errors};
    query_parse(&q, copy, errors);
    for (unsigned i = 0; i < q.n; i++)
        look(&query, q.pair[i].name);
    free(copy);
    if (x->json)
        jv_each(x->json, look_member, &body);
}
