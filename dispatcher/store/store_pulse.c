/* SPDX-License-Identifier: MIT */
/*
 * store_pulse.c - the choice among the servers of db.host, on a thread of its
 * own. Owns nothing but the choice. Must never take a server that refuses
 * writes while one that takes them answers; keeps one that reads otherwise, so
 * that look-ups go on.
 */
#include "dispatcher/store/store_pulse.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_S 2

static void settle_on(struct store_pulse *op, int host, enum db_state state)
{
    op->host = host;
    op->state = state;
    db_hosts_choose(op->hosts, host);
}

static void why_set(struct store_pulse *op, unsigned i, const struct db *db)
{
    snprintf(op->why, sizeof(op->why), "%.90s: %.200s", db_host_at(op->hosts, i)->name, db_error(db));
}

/* False: it takes no writes. *reads = it may be read from. */
static bool try_host(struct db *db, struct store_pulse *op, unsigned i, int *reads)
{
    if (db_ready_at(db, i, CONNECT_S) != DB_OK) {
        if (!op->why[0] || *reads < 0)
            why_set(op, i, db);
        return false;
    }
    enum db_rc rc = db_probe(db);
    if (rc == DB_OK)
        return true;
    if (rc == DB_NOT_HERE && *reads < 0)
        *reads = (int)i;
    if (rc == DB_NOT_HERE || *reads < 0)
        why_set(op, i, db);
    return false;
}

void store_pulse(struct db *db, void *arg)
{
    struct store_pulse *op = arg;
    unsigned n = db_hosts_count(op->hosts);
    int chosen = db_hosts_chosen(op->hosts), reads = -1;
    op->why[0] = 0;
    if (chosen != DB_NO_HOST && chosen != op->shunned && try_host(db, op, (unsigned)chosen, &reads)) {
        settle_on(op, chosen, DB_STATE_UP);
        return;
    }
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < n; i++) {
            bool is_shunned = (int)i == op->shunned;
            if ((int)i == chosen && !is_shunned) /* asked a moment ago */
                continue;
            if (is_shunned == (round == 1) && try_host(db, op, i, &reads)) {
                settle_on(op, (int)i, DB_STATE_UP);
                return;
            }
        }
    settle_on(op, reads >= 0 ? reads : DB_NO_HOST, reads >= 0 ? DB_STATE_READ_ONLY : DB_STATE_GONE);
}

void store_look_back(struct db *db, void *arg)
{
    struct store_look_back *op = arg;
    struct db *other = db_new_on(op->conf, op->hosts);
    (void)db;
    db_patience(other, CONNECT_S);
    op->takes_writes = db_ready_at(other, op->host, 1) == DB_OK && db_probe(other) == DB_OK;
    db_destroy(&other);
}
