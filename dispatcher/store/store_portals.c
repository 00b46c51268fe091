/* SPDX-License-Identifier: MIT */
/*
 * store_portals.c - the dispatchers' tick: each tells how the attempts of its
 * log-ins ended, learns what the others know, and lets go of held items that may
 * begin.
 *
 * What a portal's state becomes is breaker.c's to say; it is written by compare-and-swap, so that whoever comes second
 * looks again. When a breaker trips, the attempts that were lost to the portal are given back to their jobs in the same transaction.
 */
#include "dispatcher/store/store_portal.h"

#include "dispatcher/store/store_events.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define RELEASE_MOST 1000 /* items of a scope in one transaction */
#define SCOPES_MOST 200

/* ---- attempts that are given back --------------------------------------------------------------------------- */

/* One that was its job's last: the job is put back with that attempt to come. */
static enum db_rc job_reopen(struct db *db, unsigned tries, uint64_t job_id)
{
    struct store_retry retry = {
        .job_id = job_id, .tries = tries, .why = "the portal was down: its last attempt is given back"};
    TRY(job_retry_tx(db, &retry));
    return retry.ok ? db_exec(db, "UPDATE portal_jobs SET attempts = ? WHERE id = ?", "uu",
                              (uint64_t)(tries ? tries - 1 : 0), job_id)
                    : DB_OK;
}

static enum db_rc attempt_give_back(struct db *db, const struct portal_telling *t, const struct breaker_attempt *a)
{
    if (a->taken == TAKEN_LAST)
        return job_reopen(db, t->tries, a->job_id);
    TRY(db_exec(
        db,
        "UPDATE portal_jobs SET attempts = attempts - 1 WHERE id = ? AND status IN ({queued}, {retrying}, {running}) AND attempts > 0",
        "u", a->job_id));
    return db_affected(db) ? event_add(db, a->job_id, "attempt_given_back", NULL, t->holder, "the portal was down")
                           : DB_OK;
}

/* ---- how attempts ended ------------------------------------------------------------------------------------- */

/* now_us is the database's clock of now_ms. */
static void breaker_told(struct breaker *b, const struct portal_telling *t, uint64_t now_ms, uint64_t now_us)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct portal_ended *e = &t->ended[i];
        uint64_t ago_us = now_ms > e->ended_ms ? (now_ms - e->ended_ms) * 1000 : 0;
        struct breaker_attempt a = {now_us - ago_us, e->job_id, e->robot_id, e->how, e->taken, e->took_ms};
        breaker_ended(b, &t->times, &a, e->error, now_us);
    }
}

enum db_rc portal_tell(struct db *db, const struct portal_telling *t, struct portal_change *out)
{
    struct breaker_attempt back[BREAKER_RECENT];
    struct portal_state p;
    uint64_t now_ms = clock_ms(), now_us; /* NOW() is of when the statement came, not of when it had its lock */
    memset(out, 0, sizeof(*out));
    TRY(portal_lock(db, t->portal, &p, &now_us));
    out->from = p.breaker.state;
    breaker_told(&p.breaker, t, now_ms, now_us);
    bool is_ticked = breaker_tick(&p.breaker, now_us);
    out->to = p.breaker.state;
    out->n_given_back = breaker_give_back(&p.breaker, now_us, back, BREAKER_RECENT);
    strcpy(out->portal, p.portal);
    strcpy(out->why, p.breaker.why);
    if (!t->n && !is_ticked && !out->n_given_back)
        return DB_OK;
    TRY(portal_write(db, &p));
    if (out->to != out->from && (out->to == BREAKER_TRIPPED || out->from == BREAKER_TRIPPED))
        TRY(portal_change_add(db, out->from == BREAKER_TRIPPED ? "portal_recovered" : "portal_tripped", p.portal,
                              out->why));
    for (unsigned i = 0; i < out->n_given_back; i++)
        TRY(attempt_give_back(db, t, &back[i]));
    return DB_OK;
}

struct tell {
    struct portal_telling telling;
    struct portal_change change;
};

static enum db_rc tell_tx(struct db *db, void *arg)
{
    struct tell *t = arg;
    return portal_tell(db, &t->telling, &t->change);
}

static enum store_rc tell(struct db *db, struct store_portals *op, const char *portal,
                          const struct portal_news *news)
{
    struct tell t = {.telling = {.portal = portal, .holder = op->holder, .tries = op->tries, .times = op->times}};
    if (news) {
        t.telling.ended = news->ended;
        t.telling.n = news->n;
    }
    enum store_rc rc = store_tx(db, tell_tx, NULL, &t);
    if (rc == STORE_OK && (t.change.from != t.change.to || t.change.n_given_back) &&
        op->n_changes < sizeof(op->change) / sizeof(op->change[0]))
        op->change[op->n_changes++] = t.change;
    return rc;
}

static enum db_rc minutes_add(struct db *db, const struct store_portals *op, const struct portal_news *news)
{
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        if (news->count[i])
            TRY(db_exec(
                db,
                "INSERT INTO chasqui_portal_minutes (portal, minute, dispatcher, outcome, n) VALUES (?, FROM_UNIXTIME(UNIX_TIMESTAMP() DIV "
                "60 * 60), ?, ?, ?) ON DUPLICATE KEY UPDATE n = n + VALUES(n)",
                "sssu", news->portal, op->holder, outcome_name[i], news->count[i]));
    return DB_OK;
}

/* What is told; then what only time changes. */
static enum store_rc all_tell(struct db *db, struct store_portals *op)
{
    for (unsigned i = 0; i < op->n_news; i++) {
        const struct portal_news *news = &op->news[i];
        enum store_rc rc = news->n ? tell(db, op, news->portal, news) : STORE_OK;
        if (rc != STORE_OK)
            return rc;
        minutes_add(db, op, news); /* a number that is lost is not worth another try */
    }
    return STORE_OK;
}

static bool ticks(const struct portal_state *p)
{
    return p->breaker.state == BREAKER_DOUBTFUL || p->breaker.state == BREAKER_RETURNING;
}

static enum db_rc states_read(struct db *db, struct store_portals *op, uint64_t *now_us)
{
    free(op->portal);
    op->portal = NULL;
    return portals_read(db, &op->portal, &op->n, now_us);
}

/* ---- held items --------------------------------------------------------------------------------------------- */

struct release {
    struct scope scope;
    uint64_t from; /* of its items */
    unsigned most, n;
    uint64_t idx[RELEASE_MOST];
};

static void fill_release(void *arg, unsigned row, struct db_cell *cells)
{
    const struct release *r = arg;
    cells[0].n = r->scope.batch_id;
    cells[1].n = r->idx[row];
}

static enum db_rc release_choose(struct db *db, struct release *r, const char *state)
{
    if (r->n == r->most)
        return DB_OK;
    if (r->scope.batch_id)
        TRY(db_query(
            db,
            "SELECT idx FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? AND state = ? AND idx >= ? AND ready = 2 ORDER BY idx "
            "LIMIT ?",
            "usuu", r->scope.batch_id, state, r->from, (uint64_t)(r->most - r->n)));
    else
        TRY(db_query(
            db,
            "SELECT i.idx FROM chasqui_items i FORCE INDEX (by_state) JOIN portal_jobs j ON j.id = i.job_id WHERE i.batch_id = 0 AND "
            "i.state = ? AND i.idx >= ? AND i.ready = 2 AND j.portal = ? AND j.action = ? ORDER BY i.idx LIMIT ?",
            "sussu", state, r->from, r->scope.portal, r->scope.action, (uint64_t)(r->most - r->n)));
    while (r->n < r->most && db_next(db))
        r->idx[r->n++] = db_u64(db, 0);
    return DB_OK;
}

static enum db_rc release_tx(struct db *db, void *arg)
{
    struct release *r = arg;
    r->n = 0;
    TRY(db_query(db, "SELECT n FROM chasqui_held WHERE batch_id = ? AND portal = ? AND action = ? FOR UPDATE",
                 "uss", r->scope.batch_id, r->scope.portal, r->scope.action));
    if (!db_next(db))
        return DB_OK;
    uint64_t n = db_u64(db, 0);
    TRY(release_choose(db, r, "queued"));
    TRY(release_choose(db, r, "retrying"));
    if (r->n)
        TRY(db_bulk(
            db,
            "UPDATE chasqui_items SET {become ready.release} WHERE batch_id = ? AND idx = ? AND {from ready.release}",
            "uu", r->n, fill_release, r));
    if (r->n == r->most || r->from)
        return DB_OK;
    return db_exec(db, "DELETE FROM chasqui_held WHERE batch_id = ? AND portal = ? AND action = ? AND n = ?",
                   "ussu", r->scope.batch_id, r->scope.portal, r->scope.action, n);
}

/* Where a probe is taken from: one item that the portal never takes must not be every probe. */
static enum db_rc somewhere(struct db *db, const struct scope *s, uint64_t *from)
{
    TRY(db_query(db, "SELECT MAX(idx) FROM chasqui_items WHERE batch_id = ?", "u", s->batch_id));
    uint64_t most = db_next(db) ? db_u64(db, 0) : 0;
    *from = most ? id_random_u64() % (most + 1) : 0;
    return DB_OK;
}

static enum store_rc release(struct db *db, struct store_portals *op, const struct scope *s, unsigned most,
                             bool is_probe)
{
    struct release *r = xcalloc(1, sizeof(*r));
    enum store_rc rc = STORE_OK;
    *r = (struct release){.scope = *s, .most = most < RELEASE_MOST ? most : RELEASE_MOST};
    if (is_probe)
        rc = store_rc_of(somewhere(db, s, &r->from));
    if (rc == STORE_OK)
        rc = store_tx(db, release_tx, NULL, r);
    if (rc == STORE_OK && !r->n && r->from) {
        r->from = 0;
        rc = store_tx(db, release_tx, NULL, r);
    }
    op->n_released += r->n;
    if (r->n == RELEASE_MOST) /* more of it at once */
        op->wait_us = 1;
    free(r);
    return rc;
}

static const struct portal_state *state_of(const struct store_portals *op, const char *portal)
{
    static const struct portal_state none;
    for (unsigned i = 0; i < op->n; i++)
        if (strcmp(op->portal[i].portal, portal) == 0)
            return &op->portal[i];
    return &none;
}

static enum store_rc scope_look(struct db *db, struct store_portals *op, const struct scope *s, uint64_t now_us)
{
    const struct portal_conf *conf = portal_conf_find(op->conf, s->portal);
    const struct portal_state *p = state_of(op, s->portal);
    enum portal_gate why;
    uint64_t opening = 0, wait_us = 0;
    if (portal_is_gated(p, conf)) {
        enum store_rc rc = store_rc_of(portal_opening(db, s->portal, &opening));
        if (rc != STORE_OK)
            return rc;
    }
    unsigned may = portal_is_gated(p, conf) ? portal_may(p, conf, opening, now_us, &wait_us, &why) : BREAKER_ANY;
    if (may)
        return release(db, op, s, may, p->breaker.state == BREAKER_TRIPPED && conf->breaker);
    if (wait_us && (!op->wait_us || wait_us < op->wait_us))
        op->wait_us = wait_us;
    return STORE_OK;
}

static enum store_rc held_look(struct db *db, struct store_portals *op, uint64_t now_us)
{
    struct scope *scopes = xcalloc(SCOPES_MOST, sizeof(*scopes));
    struct scope_pause *pauses = NULL;
    unsigned n = 0, n_pauses = 0;
    enum db_rc rc =
        db_query(db, "SELECT batch_id, portal, action FROM chasqui_held ORDER BY RAND() LIMIT 200", "");
    while (rc == DB_OK && n < SCOPES_MOST && db_next(db)) {
        scopes[n].batch_id = db_u64(db, 0);
        db_str_copy(db, 1, scopes[n].portal, sizeof(scopes[n].portal));
        db_str_copy(db, 2, scopes[n].action, sizeof(scopes[n].action));
        n++;
    }
    op->is_held = n > 0;
    if (rc == DB_OK && n)
        rc = scope_pauses_read(db, &pauses, &n_pauses);
    enum store_rc is = store_rc_of(rc);
    for (unsigned i = 0; is == STORE_OK && i < n; i++)
        if (!scope_pause_of(pauses, n_pauses, scopes[i].portal, scopes[i].action, scopes[i].batch_id))
            is = scope_look(db, op, &scopes[i], now_us);
    free(pauses);
    free(scopes);
    return is;
}

void store_portals(struct db *db, void *arg)
{
    struct store_portals *op = arg;
    uint64_t now_us = 0;
    op->rc = db ? all_tell(db, op) : STORE_DOWN;
    if (op->rc == STORE_OK)
        op->rc = store_rc_of(states_read(db, op, &now_us));
    bool is_ticked = false;
    for (unsigned i = 0; op->rc == STORE_OK && i < op->n; i++)
        if (ticks(&op->portal[i])) {
            op->rc = tell(db, op, op->portal[i].portal, NULL);
            is_ticked = true;
        }
    if (op->rc == STORE_OK && is_ticked)
        op->rc = store_rc_of(states_read(db, op, &now_us));
    if (op->rc == STORE_OK && op->is_releasing)
        op->rc = held_look(db, op, now_us);
    if (op->rc != STORE_OK) {
        free(op->portal);
        op->portal = NULL;
        op->n = 0;
    }
}
