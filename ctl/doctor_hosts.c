/* SPDX-License-Identifier: MIT */
/*
 * doctor_hosts.c - the servers of db.host, each asked by itself: does it answer, and does one of them take writes?
 *
 * A process uses one server; that another one does not answer shows only when it is needed.
 */
#include "ctl/doctor.h"

#include <stdio.h>
#include <string.h>

#define CONNECT_S 2
#define PATIENCE_S 5

/* Opens a connection of its own. What is found is the server's own; where it is said, the caller decides. */
static enum db_rc host_ask(const struct conf *conf, struct db_hosts *hosts, unsigned i, char why[400])
{
    struct db *db = db_new_on(conf, hosts);
    db_patience(db, PATIENCE_S);
    enum db_rc rc = db_ready_at(db, i, CONNECT_S);
    if (rc == DB_OK)
        rc = db_probe(db);
    snprintf(why, 400, "%s", db_error(db));
    db_destroy(&db);
    return rc;
}

void doctor_hosts(const struct conf *conf, struct findings *f)
{
    struct db_hosts *hosts = db_hosts_new(conf);
    unsigned n = db_hosts_count(hosts), n_writable = 0, n_read_only = 0;
    char why[400], text[800];
    for (unsigned i = 0; i < n; i++) {
        enum db_rc rc = host_ask(conf, hosts, i, why);
        n_writable += rc == DB_OK;
        n_read_only += rc == DB_NOT_HERE;
        if (rc == DB_OK || rc == DB_NOT_HERE)
            continue;
        snprintf(text, sizeof(text), "%s of db.host does not answer: %s", db_host_at(hosts, i)->name, why);
        finding_add(f, FINDING_NOTE, "database_host", text,
                    "look at that server: nothing takes over when the one in use fails; if it is gone for good, take it out of db.host");
    }
    if (n_read_only && !n_writable) {
        finding_add(f, FINDING_DOWN, "database_read_only",
                    n > 1 ? "no server of db.host takes writes: nothing can be logged in, closed or queued"
                          : "the database is read-only: nothing can be logged in, closed or queued",
                    "make the server take writes again, or name the one that does in db.host; work goes on by itself");
    }
    db_hosts_destroy(&hosts);
    f->checks++;
}
