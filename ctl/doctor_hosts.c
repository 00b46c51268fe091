/* SPDX-License-Identifier: MIT */
/*
 * doctor_hosts.c - the servers of db.host, each asked by itself: does it answer, does one of them take writes, and as nodes of a
 * cluster: is it one cluster, with one schema, large enough, and with settings that do not hurt?
 *
 * A process uses one server; that another one does not answer shows only when it is needed.
 */
#include "ctl/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_S 2
#define PATIENCE_S 5
#define PAUSED_SHARE 0.1 /* of the time: more of it is felt */

/* What one server said. */
struct host {
    enum db_rc rc;
    char why[400];
    struct db_node node;
    int64_t migrated;        /* the newest migration */
    bool is_waiting;         /* wsrep_sync_wait is on for everybody */
    bool is_keyless_refused; /* writes to tables without a primary key are not certified */
    double paused;           /* share of the time that flow control stood still, since the last FLUSH STATUS */
};

#define NODE_SETTINGS                                                                                             \
    "SELECT (SELECT MAX(version) FROM chasqui_schema), @@GLOBAL.wsrep_sync_wait, @@GLOBAL.wsrep_certify_nonPK, "  \
    "(SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'WSREP_FLOW_CONTROL_PAUSED')"

/* What it does not tell is no finding. */
static void node_ask(struct db *db, struct host *h)
{
    char paused[32] = "0";
    if (h->node.state[0] && db_query(db, NODE_SETTINGS, "") == DB_OK && db_next(db)) {
        h->migrated = db_i64(db, 0);
        h->is_waiting = db_i64(db, 1) != 0;
        h->is_keyless_refused = db_i64(db, 2) == 0;
        db_str_copy(db, 3, paused, sizeof(paused));
        h->paused = strtod(paused, NULL);
    }
}

/* Opens a connection of its own. What is found is the server's own; where it is said, the caller decides. */
static void host_ask(const struct conf *conf, struct db_hosts *hosts, unsigned i, struct host *h)
{
    struct db *db = db_new_on(conf, hosts);
    *h = (struct host){0};
    db_patience(db, PATIENCE_S);
    h->rc = db_ready_at(db, i, CONNECT_S);
    if (h->rc == DB_OK)
        h->rc = db_probe(db, &h->node);
    if (h->rc == DB_OK)
        node_ask(db, h);
    snprintf(h->why, sizeof(h->why), "%s", db_error(db));
    db_destroy(&db);
}

/* The node is compared with `first`, the first of the list that answered. */
static void node_judge(struct findings *f, const char *name, const struct host *h, const struct host *first)
{
    char text[800];
    if (strcmp(h->node.cluster, first->node.cluster) != 0) {
        snprintf(text, sizeof(text),
                 "%s of db.host is not a node of the cluster of the servers before it: dispatchers leave it alone",
                 name);
        finding_add(f, FINDING_NOTE, "database_other_cluster", text,
                    "take it out of db.host, or let it join the cluster");
        return;
    }
    if (h->migrated && first->migrated && h->migrated != first->migrated) {
        snprintf(text, sizeof(text), "%s of db.host is at migration %04lld, the servers before it at %04lld", name,
                 (long long)h->migrated, (long long)first->migrated);
        finding_add(f, FINDING_NOTE, "database_other_schema", text,
                    "run chasqui migrate; if it stays so, replicate DDL again (wsrep_OSU_method = TOI)");
    }
    if (!db_node_is_synced(&h->node)) {
        snprintf(text, sizeof(text), "%s of db.host is %s: it may be behind the other nodes", name, h->node.state);
        finding_add(f, FINDING_NOTE, "database_node_behind", text,
                    "nothing, while a node joins; else look at SHOW STATUS LIKE 'wsrep%'");
    }
    if (h->is_waiting) {
        snprintf(text, sizeof(text),
                 "%s of db.host has wsrep_sync_wait on: each read of a list waits for the other nodes", name);
        finding_add(f, FINDING_NOTE, "database_sync_wait", text,
                    "SET GLOBAL wsrep_sync_wait = 0: what must wait says so by itself");
    }
    if (h->is_keyless_refused) {
        snprintf(
            text, sizeof(text),
            "%s of db.host has wsrep_certify_nonPK off: writes to a table without a primary key are lost on other nodes",
            name);
        finding_add(f, FINDING_NOTE, "database_certify_nonpk", text, "SET GLOBAL wsrep_certify_nonPK = ON");
    }
    if (h->paused > PAUSED_SHARE) {
        snprintf(text, sizeof(text),
                 "%s of db.host stood still for %.0f %% of the time, since a node was too slow (flow control)",
                 name, h->paused * 100);
        finding_add(f, FINDING_NOTE, "database_flow_control", text,
                    "find the slow node (wsrep_local_recv_queue_avg); raise wsrep_slave_threads or gcs.fc_limit");
    }
}

static void size_judge(struct findings *f, const struct host *first, unsigned n)
{
    char text[800];
    if (first->node.size == 2) {
        finding_add(
            f, FINDING_NOTE, "database_cluster_of_two",
            "the database cluster has two nodes: when one is lost, the other has no quorum and takes nothing",
            "add a third node, or an arbitrator (garbd) on a third host");
    } else if (first->node.size && first->node.size < n) {
        snprintf(text, sizeof(text), "%u of the %u nodes of db.host are in touch", first->node.size, n);
        finding_add(f, FINDING_NOTE, "database_cluster_small", text, "look at the node that is missing");
    }
}

void doctor_hosts(const struct conf *conf, struct findings *f)
{
    struct db_hosts *hosts = db_hosts_new(conf);
    unsigned n = db_hosts_count(hosts), n_writable = 0, n_read_only = 0;
    char text[800];
    struct host host, first = {.rc = DB_GONE};
    for (unsigned i = 0; i < n; i++) {
        host_ask(conf, hosts, i, &host);
        n_writable += host.rc == DB_OK;
        n_read_only += host.rc == DB_NOT_HERE;
        if (host.rc == DB_OK) {
            first = first.rc == DB_OK ? first : host;
            node_judge(f, db_host_at(hosts, i)->name, &host, &first);
        }
        if (host.rc == DB_OK || host.rc == DB_NOT_HERE ||
            (host.rc == DB_FAIL && n == 1)) /* of one that lacks our tables the other checks tell */
            continue;
        snprintf(text, sizeof(text),
                 host.rc == DB_FAIL ? "%s of db.host has no tables of ours: %s"
                                    : "%s of db.host does not answer: %s",
                 db_host_at(hosts, i)->name, host.why);
        finding_add(
            f, FINDING_NOTE, "database_host", text,
            "look at that server: nothing takes over when the one in use fails; if it is gone for good, take it out of db.host");
    }
    size_judge(f, &first, n);
    if (n_read_only && !n_writable) {
        finding_add(
            f, FINDING_DOWN, "database_read_only",
            n > 1 ? "no server of db.host takes writes: nothing can be logged in, closed or queued"
                  : "the database is read-only: nothing can be logged in, closed or queued",
            "make the server take writes again, or name the one that does in db.host; work goes on by itself");
    }
    db_hosts_destroy(&hosts);
    f->checks++;
}
