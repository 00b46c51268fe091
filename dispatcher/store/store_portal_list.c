/* SPDX-License-Identifier: MIT */
/*
 * store_portal_list.c - portals as operators see them: state, limits, pauses, what
 * waits for them, and how their last hour was. Reads only; counts stop at a bound.
 */
#include "dispatcher/store/store_portal.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define COUNTED_MOST 10000 /* items that are counted, of those that are held and of those that are not */

struct listing {
    struct store_portal_list *op;
    struct jv *list;
    struct portal_state *states;
    unsigned n_states;
    uint64_t now_us;
};

static struct jv *one_of(struct listing *l, const char *name)
{
    for (size_t i = 0; i < jv_len(l->list); i++) {
        struct jv *one = (struct jv *)jv_at(l->list, i);
        if (strcmp(jv_str(jv_get(one, "name")), name) == 0)
            return one;
    }
    return NULL;
}

static int64_t unix_ms(uint64_t us)
{
    return (int64_t)(us / 1000);
}

static void portal_add(struct listing *l, const char *name, const struct portal_state *p)
{
    static const char *const shown[] = {"up", "doubtful", "tripped", "returning"};
    const struct portal_conf *conf = portal_conf_find(l->op->conf, name);
    enum breaker_state state = p && conf->breaker ? p->breaker.state : BREAKER_CLOSED;
    if (one_of(l, name))
        return;
    struct jv *one = jv_new_object(), *limits = jv_new_object();
    jv_set_str(one, "name", name);
    jv_set_str(one, "state", shown[state]);
    jv_set_time(one, "since", state != BREAKER_CLOSED ? unix_ms(p->breaker.since_us) : 0);
    jv_set_str(one, "why", state == BREAKER_TRIPPED || state == BREAKER_RETURNING ? p->breaker.why : NULL);
    jv_set_time(one, "next_probe_at", state == BREAKER_TRIPPED ? unix_ms(p->breaker.probe_us) : 0);
    jv_set_int(limits, "logins_per_minute", conf->per_minute);
    jv_set_int(limits, "logins_at_once", conf->at_once);
    jv_set_bool(limits, "breaker", conf->breaker);
    jv_set(one, "limits", limits);
    jv_set(one, "pauses", jv_new_array());
    jv_set_int(one, "running", 0);
    jv_set_int(one, "ready", 0);
    jv_set_int(one, "held", 0);
    jv_set_int(one, "refused_credentials", 0);
    struct jv *hour = jv_new_object();
    for (unsigned i = 1; i < OUTCOME_COUNT; i++)
        jv_set_int(hour, outcome_name[i], 0);
    jv_set(one, "last_hour", hour);
    jv_push(l->list, one);
}

/* Those of the log-ins that are configured, and those of which something is recorded. */
static enum db_rc names_add(struct db *db, struct listing *l)
{
    TRY(portals_read(db, &l->states, &l->n_states, &l->now_us));
    for (unsigned i = 0; i < l->n_states; i++)
        portal_add(l, l->states[i].portal, &l->states[i]);
    for (unsigned i = 0; i < l->op->actions->n; i++)
        if (l->op->actions->rows[i].session == ACTION_CREATE)
            portal_add(l, l->op->actions->rows[i].portal, NULL);
    for (unsigned i = 0; i < l->op->conf->n; i++)
        portal_add(l, l->op->conf->rows[i].name, NULL);
    return DB_OK;
}

/* Those that name the portal, or one of its actions. */
static enum db_rc pauses_add(struct db *db, struct listing *l)
{
    struct scope_pause *pauses;
    unsigned n;
    enum db_rc rc = scope_pauses_read(db, &pauses, &n);
    struct jv *all = scope_pauses_jv(pauses, rc == DB_OK ? n : 0);
    for (unsigned i = 0; rc == DB_OK && i < n; i++) {
        char name[PORTAL_ROOM];
        const struct scope *s = &pauses[i].scope;
        size_t len = s->portal[0] ? strlen(s->portal) : strcspn(s->action, ".");
        str_copy(name, sizeof(name), (struct str){s->portal[0] ? s->portal : s->action, (uint32_t)len});
        struct jv *one = one_of(l, name);
        if (one)
            jv_push(jv_get(one, "pauses"), jv_copy(jv_at(all, i)));
    }
    jv_free(all);
    free(pauses);
    return rc;
}

static void ready_add(void *arg, const char *portal, uint64_t n)
{
    struct jv *one = one_of(arg, portal);
    if (one)
        jv_set_int(one, "ready", (int64_t)n);
}

static void held_add(void *arg, const char *portal, uint64_t n)
{
    struct jv *one = one_of(arg, portal);
    if (one)
        jv_set_int(one, "held", (int64_t)n);
}

static enum db_rc items_count(struct db *db, uint64_t ready, uint64_t most,
                              void (*fn)(void *arg, const char *portal, uint64_t n), void *arg)
{
    TRY(db_query(
        db,
        "SELECT COALESCE(b.portal, j.portal), COUNT(*) FROM (SELECT batch_id, idx, job_id FROM chasqui_items FORCE INDEX (ready) WHERE ready "
        "= ? LIMIT ?) i LEFT JOIN chasqui_batches b ON b.id = i.batch_id LEFT JOIN portal_jobs j ON i.batch_id = 0 AND j.id = i.job_id "
        "GROUP BY 1 ORDER BY NULL",
        "uu", ready, most));
    while (db_next(db))
        if (!db_is_null(db, 0))
            fn(arg, db_str(db, 0, NULL), db_u64(db, 1));
    return DB_OK;
}

enum db_rc held_count(struct db *db, uint64_t most, void (*fn)(void *arg, const char *portal, uint64_t n),
                      void *arg)
{
    return items_count(db, 2, most, fn, arg);
}

static enum db_rc counts_add(struct db *db, struct listing *l)
{
    TRY(db_query(
        db,
        "SELECT portal, COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' GROUP BY portal ORDER BY NULL",
        ""));
    while (db_next(db)) {
        struct jv *one = one_of(l, db_str(db, 0, NULL));
        if (one)
            jv_set_int(one, "running", db_i64(db, 1));
    }
    TRY(items_count(db, 1, COUNTED_MOST, ready_add, l));
    TRY(held_count(db, COUNTED_MOST, held_add, l));
    TRY(db_query(
        db,
        "SELECT r.portal, COUNT(*) FROM chasqui_refused r JOIN chasqui_credentials c ON c.company_id = r.company_id AND c.portal = r.portal "
        "AND c.updated_at = r.credentials_at GROUP BY r.portal ORDER BY NULL",
        ""));
    while (db_next(db)) {
        struct jv *one = one_of(l, db_str(db, 0, NULL));
        if (one)
            jv_set_int(one, "refused_credentials", db_i64(db, 1));
    }
    TRY(db_query(
        db,
        "SELECT portal, outcome, CAST(SUM(n) AS INT) FROM chasqui_portal_minutes WHERE minute > NOW() - INTERVAL 60 MINUTE GROUP BY portal, "
        "outcome ORDER BY NULL",
        ""));
    while (db_next(db)) {
        struct jv *one = one_of(l, db_str(db, 0, NULL));
        if (one)
            jv_set_int(jv_get(one, "last_hour"), db_str(db, 1, NULL), db_i64(db, 2));
    }
    return DB_OK;
}

static enum db_rc listing_read(struct db *db, struct listing *l)
{
    TRY(names_add(db, l));
    TRY(pauses_add(db, l));
    return counts_add(db, l);
}

void store_portal_list(struct db *db, void *arg)
{
    struct store_portal_list *op = arg;
    struct listing l = {.op = op, .list = jv_new_array()};
    struct jv *body = jv_new_object();
    op->rc = store_rc_of(db ? listing_read(db, &l) : DB_GONE);
    jv_set_bool(body, "ok", true);
    jv_set(body, "portals", l.list);
    json_take(body, &op->json);
    free(l.states);
}
