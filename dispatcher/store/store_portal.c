/* SPDX-License-Identifier: MIT */
/*
 * store_portal.c - the rows of portals and of pauses: reading, and writing by
 * compare-and-swap. What they mean is breaker.c's and pace.c's to say.
 */
#include "dispatcher/store/store_portal.h"

#include "common/check.h"
#include "dispatcher/store/pace.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows --------------------------------------------------------------------------------------------------- */

#define PORTAL_COLUMNS                                                                                                                   \
    "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS INT), p.portal, p.version, p.state + 0, p.since_us, p.why, p.probe_us, p.sync_us, " \
    "p.rate, p.rate_us, p.let, p.ended, p.pace_us, p.recent FROM "

static void row_read(struct db *db, struct portal_state *p)
{
    size_t len;
    memset(p, 0, sizeof(*p));
    db_str_copy(db, 1, p->portal, sizeof(p->portal));
    p->is_there = true;
    p->version = db_u64(db, 2);
    uint64_t state = db_u64(db, 3); /* ENUM indexes count from 1 */
    p->breaker.state = state >= 1 && state <= BREAKER_STATES ? (enum breaker_state)(state - 1) : BREAKER_CLOSED;
    p->breaker.since_us = db_u64(db, 4);
    db_str_copy(db, 5, p->breaker.why, sizeof(p->breaker.why));
    p->breaker.probe_us = db_u64(db, 6);
    p->breaker.sync_us = db_u64(db, 7);
    p->breaker.rate = (uint32_t)db_u64(db, 8);
    p->breaker.rate_us = db_u64(db, 9);
    p->breaker.let = (uint32_t)db_u64(db, 10);
    p->breaker.ended = (uint32_t)db_u64(db, 11);
    p->pace_us = db_u64(db, 12);
    const char *recent = db_str(db, 13, &len);
    breaker_unpack(&p->breaker, (const uint8_t *)recent, recent ? len : 0);
}

static enum db_rc portal_take(struct db *db, const char *sql, const char *portal, struct portal_state *out,
                              uint64_t *now_us)
{
    memset(out, 0, sizeof(*out));
    TRY(db_query(db, sql, "s", portal));
    if (!db_next(db))
        return DB_FAIL;
    *now_us = db_u64(db, 0);
    if (!db_is_null(db, 1))
        row_read(db, out);
    str_copy(out->portal, sizeof(out->portal), str_of(portal));
    return DB_OK;
}

#define PORTAL_NAMED PORTAL_COLUMNS "(SELECT 1) one LEFT JOIN chasqui_portals p ON p.portal = ?"

enum db_rc portal_read(struct db *db, const char *portal, struct portal_state *out, uint64_t *now_us)
{
    return portal_take(db, PORTAL_NAMED, portal, out, now_us);
}

enum db_rc portal_lock(struct db *db, const char *portal, struct portal_state *out, uint64_t *now_us)
{
    return portal_take(db, PORTAL_NAMED " FOR UPDATE", portal, out, now_us);
}

enum db_rc portals_read(struct db *db, struct portal_state **out, unsigned *n, uint64_t *now_us)
{
    *n = 0;
    *out = NULL;
    TRY(db_query(db, PORTAL_COLUMNS "(SELECT 1) one LEFT JOIN chasqui_portals p ON 1 = 1 LIMIT 256", ""));
    while (*n < PORTALS_MAX && db_next(db)) {
        *now_us = db_u64(db, 0);
        if (db_is_null(db, 1))
            break;
        *out = xrealloc(*out, (*n + 1) * sizeof(**out));
        row_read(db, &(*out)[(*n)++]);
    }
    return DB_OK;
}

enum db_rc portal_write(struct db *db, struct portal_state *p)
{
    uint8_t recent[BREAKER_BYTES];
    const struct breaker *b = &p->breaker;
    size_t len = breaker_pack(b, recent);
    if (!p->is_there)
        TRY(db_exec(db, "INSERT IGNORE INTO chasqui_portals (portal) VALUES (?)", "s", p->portal));
    p->is_there = true;
    TRY(db_exec(
        db,
        "UPDATE chasqui_portals SET version = version + 1, state = ?, since_us = ?, why = NULLIF(?, ''), probe_us = ?, sync_us = ?, rate "
        "= ?, rate_us = ?, let = ?, ended = ?, pace_us = ?, recent = ? WHERE portal = ? AND version = ?",
        "susuuuuuuubsu", breaker_state_name[b->state], b->since_us, b->why, b->probe_us, b->sync_us,
        (uint64_t)b->rate, b->rate_us, (uint64_t)b->let, (uint64_t)b->ended, p->pace_us, (const void *)recent, len,
        p->portal, p->version));
    if (db_affected(db) != 1)
        return DB_RETRY;
    p->version++;
    return DB_OK;
}

enum db_rc portal_opening(struct db *db, const char *portal, uint64_t *n)
{
    TRY(db_query(db,
                 "SELECT COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' AND portal = ?",
                 "s", portal));
    *n = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}

enum db_rc portal_is_down(struct db *db, const char *portal, bool *is_down)
{
    TRY(db_query(db, "SELECT 1 FROM chasqui_portals WHERE portal = ? AND state IN ('tripped', 'returning')", "s",
                 portal));
    *is_down = db_next(db);
    return DB_OK;
}

/* ---- what may begin ----------------------------------------------------------------------------------------- */

bool portal_is_gated(const struct portal_state *p, const struct portal_conf *conf)
{
    return (conf->breaker && p->breaker.state != BREAKER_CLOSED) || conf->per_minute || conf->at_once;
}

#define AT_ONCE_ASK_US UINT64_C(500000)

unsigned portal_may(const struct portal_state *p, const struct portal_conf *conf, uint64_t opening,
                    uint64_t now_us, uint64_t *wait_us, enum portal_gate *why)
{
    unsigned may = BREAKER_ANY, n;
    uint64_t wait;
    *wait_us = 0;
    *why = GATE_OPEN;
    if (conf->breaker && (n = breaker_may(&p->breaker, (unsigned)opening, now_us, &wait)) < may) {
        may = n;
        *wait_us = wait;
        *why = GATE_BREAKER;
    }
    if (conf->per_minute && (n = pace_may(p->pace_us, conf->per_minute, now_us, &wait)) < may) {
        may = n;
        *wait_us = wait;
        *why = GATE_PACE;
    }
    if (conf->at_once && (n = conf->at_once > opening ? conf->at_once - (unsigned)opening : 0) < may) {
        may = n;
        *wait_us = AT_ONCE_ASK_US;
        *why = GATE_AT_ONCE;
    }
    return may;
}

enum db_rc portal_begin(struct db *db, struct portal_state *p, const struct portal_conf *conf,
                        const struct breaker_times *t, unsigned n, uint64_t now_us)
{
    breaker_begun(&p->breaker, t, n, now_us);
    if (conf->per_minute)
        p->pace_us = pace_take(p->pace_us, conf->per_minute, now_us, n);
    return portal_write(db, p);
}

/* May one that a client waits for begin now? If not: *wait_us until it is worth asking again. */
static enum portal_gate may_sync(const struct portal_state *p, const struct portal_conf *conf, uint64_t opening,
                                 uint64_t now_us, uint64_t *wait_us)
{
    *wait_us = 0;
    if (conf->breaker && !breaker_may_sync(&p->breaker, now_us, wait_us))
        return GATE_BREAKER;
    if (conf->at_once && opening >= conf->at_once) {
        *wait_us = AT_ONCE_ASK_US;
        return GATE_AT_ONCE;
    }
    if (conf->per_minute && !pace_may(p->pace_us, conf->per_minute, now_us, wait_us))
        return GATE_PACE;
    return GATE_OPEN;
}

static void begun_sync(struct portal_state *p, const struct portal_conf *conf, const struct breaker_times *t,
                       uint64_t now_us)
{
    breaker_begun_sync(&p->breaker, t, now_us);
    if (conf->per_minute)
        p->pace_us = pace_take(p->pace_us, conf->per_minute, now_us, 1);
}

enum db_rc portal_begin_sync(struct db *db, const char *portal, const struct portal_conf *conf,
                             const struct breaker_times *t, enum portal_gate *why, uint64_t *wait_us,
                             char error[65])
{
    struct portal_state p;
    uint64_t now_us, opening = 0;
    *why = GATE_OPEN;
    *wait_us = 0;
    TRY(portal_read(db, portal, &p, &now_us));
    if (conf->at_once)
        TRY(portal_opening(db, portal, &opening));
    memcpy(error, p.breaker.why, sizeof(p.breaker.why));
    *why = may_sync(&p, conf, opening, now_us, wait_us);
    if (*why != GATE_OPEN || !portal_is_gated(&p, conf))
        return DB_OK;
    begun_sync(&p, conf, t, now_us);
    return portal_write(db, &p);
}

enum db_rc portal_read_sync(struct db *db, const char *portal, const struct portal_conf *conf,
                            const struct breaker_times *t, unsigned n, struct portal_state *out, uint64_t *now_us,
                            unsigned *may)
{
    uint64_t opening = 0, wait_us;
    *may = 0;
    TRY(portal_read(db, portal, out, now_us));
    if (conf->at_once)
        TRY(portal_opening(db, portal, &opening));
    struct portal_state p = *out;
    for (; *may < n && may_sync(&p, conf, opening + *may, *now_us, &wait_us) == GATE_OPEN; (*may)++)
        begun_sync(&p, conf, t, *now_us);
    return DB_OK;
}

enum db_rc portal_begun_sync(struct db *db, struct portal_state *p, const struct portal_conf *conf,
                             const struct breaker_times *t, unsigned n, uint64_t now_us)
{
    if (!n || !portal_is_gated(p, conf))
        return DB_OK;
    while (n--)
        begun_sync(p, conf, t, now_us);
    return portal_write(db, p);
}

/* ---- pauses ------------------------------------------------------------------------------------------------- */

enum db_rc scope_pauses_read(struct db *db, struct scope_pause **out, unsigned *n)
{
    *n = 0;
    *out = NULL;
    TRY(db_query(
        db,
        "SELECT portal, action, batch_id, actor, reason, CAST(UNIX_TIMESTAMP(since) * 1000 AS INT), CAST(UNIX_TIMESTAMP(until_at) * 1000 "
        "AS INT) FROM chasqui_pauses WHERE until_at IS NULL OR until_at > NOW(6) ORDER BY id LIMIT 200",
        ""));
    while (*n < PAUSES_MAX && db_next(db)) {
        *out = xrealloc(*out, (*n + 1) * sizeof(**out));
        struct scope_pause *p = &(*out)[(*n)++];
        db_str_copy(db, 0, p->scope.portal, sizeof(p->scope.portal));
        db_str_copy(db, 1, p->scope.action, sizeof(p->scope.action));
        p->scope.batch_id = db_u64(db, 2);
        db_str_copy(db, 3, p->by, sizeof(p->by));
        db_str_copy(db, 4, p->reason, sizeof(p->reason));
        p->since_ms = db_i64(db, 5);
        p->until_ms = db_i64(db, 6);
    }
    return DB_OK;
}

const struct scope_pause *scope_pause_of(const struct scope_pause *pauses, unsigned n, const char *portal,
                                         const char *action, uint64_t batch_id)
{
    for (unsigned i = 0; i < n; i++) {
        const struct scope *s = &pauses[i].scope;
        if ((!s->portal[0] || strcmp(s->portal, portal) == 0) &&
            (!s->action[0] || strcmp(s->action, action) == 0) && (!s->batch_id || s->batch_id == batch_id))
            return &pauses[i];
    }
    return NULL;
}

struct jv *scope_pauses_jv(const struct scope_pause *pauses, unsigned n)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < n; i++) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "portal", pauses[i].scope.portal[0] ? pauses[i].scope.portal : NULL);
        jv_set_str(one, "action", pauses[i].scope.action[0] ? pauses[i].scope.action : NULL);
        if (pauses[i].scope.batch_id)
            jv_set_int(one, "batch_id", (int64_t)pauses[i].scope.batch_id);
        else
            jv_set(one, "batch_id", NULL);
        jv_set_str(one, "by", pauses[i].by);
        jv_set_str(one, "reason", pauses[i].reason[0] ? pauses[i].reason : NULL);
        jv_set_time(one, "since", pauses[i].since_ms);
        jv_set_time(one, "until", pauses[i].until_ms);
        jv_push(list, one);
    }
    return list;
}
