/* SPDX-License-Identifier: MIT */
/*
 * store_pulse.c - the choice among the servers of db.host, on a thread of its
 * own. Owns nothing but the choice. Must never take a server that refuses
 * writes while one that takes them answers, nor ever one that has other data:
 * a node of another cluster. Keeps one that reads when there is no better, so
 * that look-ups go on.
 */
#include "dispatcher/store/store_pulse.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_S 2

/* How well a server serves. */
enum fit { FIT_NOT, FIT_READS, FIT_LAGS /* takes writes, and may be behind the other nodes */, FIT_WRITES };

static void left_mark(struct hosts_left *left, unsigned i, bool is_foreign, bool is_bare)
{
    uint64_t bit = i < 64 ? UINT64_C(1) << i : 0;
    left->foreign = is_foreign ? left->foreign | bit : left->foreign & ~bit;
    left->bare = is_bare ? left->bare | bit : left->bare & ~bit;
}

/* On the connection that is open. `why` is written unless it takes writes. */
static enum fit fit_of(struct db *db, const struct db_hosts *hosts, unsigned i, const char *cluster,
                       struct hosts_left *left, struct db_node *node, char why[300])
{
    const char *name = db_host_at(hosts, i)->name;
    *node = (struct db_node){0};
    enum db_rc rc = db_probe(db, node);
    bool is_only = db_hosts_count(hosts) == 1; /* then its statements say what it lacks */
    if (rc == DB_NOT_HERE || rc == DB_GONE) {
        snprintf(why, 300, "%.90s: %.200s", name, db_error(db));
        return rc == DB_NOT_HERE ? FIT_READS : FIT_NOT;
    }
    bool is_bare = rc == DB_FAIL && !is_only,
         is_foreign = !is_bare && !is_only && *cluster && strcmp(cluster, node->cluster) != 0;
    left_mark(left, i, is_foreign, is_bare);
    if (is_bare || is_foreign) {
        snprintf(why, 300, "%.90s: %s", name, is_bare ? HOST_IS_BARE : HOST_IS_FOREIGN);
        return FIT_NOT;
    }
    return db_node_is_synced(node) ? FIT_WRITES : FIT_LAGS;
}

/* The chosen one is asked first, then the others in order, then one that was silent just now. */
static unsigned turn_of(const struct store_pulse *op, int chosen, unsigned i)
{
    return (int)i == op->shunned ? 2 : (int)i == chosen ? 0 : 1;
}

static enum fit try_host(struct db *db, struct store_pulse *op, unsigned i, enum fit best, struct db_node *node)
{
    char why[300];
    enum fit fit = FIT_NOT;
    if (db_ready_at(db, i, CONNECT_S) == DB_OK)
        fit = fit_of(db, op->hosts, i, op->cluster, &op->left, node, why);
    else
        snprintf(why, sizeof(why), "%.90s: %.200s", db_host_at(op->hosts, i)->name, db_error(db));
    if (fit < FIT_LAGS &&
        (!op->why[0] || best < FIT_READS)) /* why the one that reads takes no writes is worth most */
        memcpy(op->why, why, sizeof(why));
    return fit;
}

void store_pulse(struct db *db, void *arg)
{
    struct store_pulse *op = arg;
    unsigned n = db_hosts_count(op->hosts);
    int chosen = db_hosts_chosen(op->hosts);
    enum fit best = FIT_NOT, enough = FIT_WRITES;
    op->why[0] = 0;
    op->host = DB_NO_HOST;
    for (unsigned turn = 0; turn < 3; turn++)
        for (unsigned i = 0; i < n && best < enough; i++) {
            struct db_node node = {0};
            enum fit fit = turn_of(op, chosen, i) == turn ? try_host(db, op, i, best, &node) : FIT_NOT;
            if (fit <= best)
                continue;
            best = fit;
            enough =
                turn == 0 ? FIT_LAGS : FIT_WRITES; /* one that is used and lags is left without haste: store.c */
            op->host = (int)i;
            op->node = node;
        }
    op->state = best >= FIT_LAGS ? DB_STATE_UP : best == FIT_READS ? DB_STATE_READ_ONLY : DB_STATE_GONE;
    db_hosts_choose(op->hosts, op->host);
}

void store_look_back(struct db *db, void *arg)
{
    struct store_look_back *op = arg;
    struct db *other = db_new_on(op->conf, op->hosts);
    struct hosts_left left = {0};
    struct db_node node;
    char why[300];
    (void)db;
    db_patience(other, CONNECT_S);
    op->is_well = db_ready_at(other, op->host, 1) == DB_OK &&
                  fit_of(other, op->hosts, op->host, op->cluster, &left, &node, why) == FIT_WRITES;
    db_destroy(&other);
}
