/* SPDX-License-Identifier: MIT */
/*
 * store_hold.c - items that a claim meets and may not begin: what a pause of a
 * part of the queue holds, and what a portal's breaker or limits do not let
 * through yet. They are set aside (ready = 2), so that no claim looks at them
 * again; the dispatchers' tick lets go of them (store_portals.c). No attempt is
 * counted. Runs inside the claim's transaction.
 */
#include "dispatcher/store/store_claim.h"
#include "dispatcher/store/store_portal.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct claim_gate {
    struct portal_state portal;
    const struct portal_conf *conf;
    uint64_t opening, now_us;
};

/* ---- pauses ------------------------------------------------------------------------------------------------- */

enum db_rc claim_pauses(struct db *db, struct claim *c)
{
    struct scope_pause *pauses;
    unsigned n;
    if (!claim_choose(c, FATE_GO, -1))
        return DB_OK;
    enum db_rc rc = scope_pauses_read(db, &pauses, &n);
    for (unsigned i = 0; rc == DB_OK && n && i < c->n_rows; i++)
        if (scope_pause_of(pauses, n, c->row[i]->portal, c->row[i]->action, c->row[i]->batch_id))
            c->row[i]->fate = FATE_HOLD;
    free(pauses);
    return rc;
}

/* ---- portals ------------------------------------------------------------------------------------------------ */

void claim_gates_forget(struct claim *c)
{
    free(c->gates);
    c->gates = NULL;
    c->n_gates = 0;
}

static struct claim_gate *gate_of(struct claim *c, const char *portal)
{
    for (unsigned i = 0; i < c->n_gates; i++)
        if (strcmp(c->gates[i].portal.portal, portal) == 0)
            return &c->gates[i];
    return NULL;
}

static bool has_items(struct claim *c, const char *portal)
{
    for (unsigned i = 0; i < c->n_rows; i++)
        if (strcmp(c->row[i]->portal, portal) == 0)
            return true;
    return false;
}

static void gate_add(struct claim *c, const struct portal_state *p, uint64_t now_us)
{
    const struct portal_conf *conf = portal_conf_find(c->op->portals, p->portal);
    if (!portal_is_gated(p, conf) || !has_items(c, p->portal) || gate_of(c, p->portal))
        return;
    c->gates = xrealloc(c->gates, (c->n_gates + 1) * sizeof(*c->gates));
    c->gates[c->n_gates++] = (struct claim_gate){*p, conf, 0, now_us};
}

/* The portals of these items that do not let everything through. */
static enum db_rc gates_read(struct db *db, struct claim *c)
{
    struct portal_state *rows;
    uint64_t now_us = 0;
    unsigned n;
    enum db_rc rc = portals_read(db, &rows, &n, &now_us);
    for (unsigned i = 0; rc == DB_OK && i < n; i++)
        gate_add(c, &rows[i], now_us);
    free(rows);
    for (unsigned i = 0; rc == DB_OK && c->op->portals && i < c->op->portals->n;
         i++) { /* one with limits, of which nothing is recorded yet */
        struct portal_state p = {0};
        strcpy(p.portal, c->op->portals->rows[i].name);
        gate_add(c, &p, now_us);
    }
    return rc;
}

static void gate_hold(struct claim *c, const struct claim_gate *g)
{
    enum portal_gate why;
    uint64_t wait_us;
    unsigned left = portal_may(&g->portal, g->conf, g->opening, g->now_us, &wait_us, &why);
    bool is_held = false;
    for (unsigned i = 0; i < c->n_rows; i++) {
        if (strcmp(c->row[i]->portal, g->portal.portal) != 0)
            continue;
        if (left) {
            left -= left != BREAKER_ANY;
            continue;
        }
        c->row[i]->fate = FATE_HOLD;
        is_held = true;
    }
    if (is_held && (!c->op->hold_wait_us || wait_us < c->op->hold_wait_us))
        c->op->hold_wait_us = wait_us ? wait_us : 1;
}

enum db_rc claim_gates(struct db *db, struct claim *c)
{
    claim_gates_forget(c);
    c->op->hold_wait_us = 0;
    if (!claim_choose(c, FATE_GO, -1))
        return DB_OK;
    TRY(gates_read(db, c));
    for (unsigned i = 0; i < c->n_gates; i++) {
        TRY(portal_opening(db, c->gates[i].portal.portal, &c->gates[i].opening));
        gate_hold(c, &c->gates[i]);
    }
    return DB_OK;
}

enum db_rc claim_gates_pass(struct db *db, struct claim *c)
{
    claim_choose(c, FATE_GO, -1);
    for (unsigned i = 0; i < c->n_gates; i++) {
        struct claim_gate *g = &c->gates[i];
        unsigned n = 0;
        for (unsigned k = 0; k < c->n_rows; k++)
            n += strcmp(c->row[k]->portal, g->portal.portal) == 0;
        if (n)
            TRY(portal_begin(db, &g->portal, g->conf, &c->op->breaker, n, g->now_us));
    }
    return DB_OK;
}

/* ---- setting aside ------------------------------------------------------------------------------------------ */

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->batch_id;
    cells[1].n = it->idx;
}

static bool is_same_scope(const struct item *a, const struct item *b)
{
    return a->batch_id == b->batch_id && strcmp(a->portal, b->portal) == 0 && strcmp(a->action, b->action) == 0;
}

enum db_rc claim_hold(struct db *db, struct claim *c)
{
    c->op->n_held = claim_choose(c, FATE_HOLD, -1);
    if (!c->n_rows)
        return DB_OK;
    TRY(db_bulk(db, "UPDATE chasqui_items SET {become ready.hold} WHERE batch_id = ? AND idx = ?", "uu", c->n_rows,
                fill_item, c));
    for (unsigned i = 0; i < c->n_rows; i++) {
        bool is_told = false;
        for (unsigned k = 0; k < i && !is_told; k++)
            is_told = is_same_scope(c->row[i], c->row[k]);
        if (!is_told)
            TRY(db_exec(
                db,
                "INSERT INTO chasqui_held (batch_id, portal, action) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE n = n + 1",
                "uss", c->row[i]->batch_id, c->row[i]->portal, c->row[i]->action));
    }
    return DB_OK;
}
