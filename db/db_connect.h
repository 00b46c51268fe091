/* SPDX-License-Identifier: MIT */
/*
 * db_connect.h - a connection to one of the servers, and whether that server takes writes. Part of mariadb.c;
 * other files use mariadb.h.
 */
#ifndef CHASQUI_DB_CONNECT_H
#define CHASQUI_DB_CONNECT_H

#include "common/conf.h"
#include "db/db_hosts.h"
#include "db/portal_shape.h"

struct st_mysql; /* mysql.h's MYSQL */

struct db_link {
    const struct conf *conf;
    struct db_hosts *hosts;
    bool is_alone;       /* this handle owns the hosts and chooses among them; else another thread chooses */
    unsigned at;         /* index of the connected host */
    bool is_new;         /* just opened, not used yet */
    bool is_node;        /* the server is a node of a Galera cluster */
    unsigned patience_s; /* time limit of one answer */
    _Atomic int cut;     /* copy of the connection's descriptor, owned by the thread that takes it. -1 = none */
    struct st_mysql *my; /* NULL = no connection */
    char error[400];     /* the last failure, as text for people */
};

/* hosts NULL: the link is alone and makes its own list. */
void db_link_init(struct db_link *l, const struct conf *conf, struct db_hosts *hosts, unsigned patience_s);
void db_link_end(struct db_link *l);
/* Opens a connection, applies the session settings, uses TLS as configured by db.tls_*. On false `error` says why.
 * The link must have no connection yet. */
bool db_link_open(struct db_link *l, unsigned host, unsigned connect_s);
/* Connects to the first host that takes writes, else to the first host that answers. */
bool db_link_open_alone(struct db_link *l, unsigned connect_s);
void db_link_close(struct db_link *l);
/* Breaks the connection; its owner finds it broken. May be called by any thread. */
void db_link_cut(struct db_link *l);
/* Probes with a write that changes nothing: a server refuses it as it would any other write. */
enum db_takes {
    DB_TAKES_WRITES,
    DB_TAKES_READS,
    DB_TAKES_NOTHING /* the connection is unusable */,
    DB_TAKES_OTHERS /* our tables do not exist */
};
enum db_takes db_link_ask(struct db_link *l);
/* Reads the server's own report as a node of a cluster. On a single server all fields are empty and no query is
 * sent. On false `error` says why. */
bool db_link_node(struct db_link *l, struct db_node *out);
/* Reads the current shape of portal_jobs. False: the connection's next statement will report what is wrong. */
bool db_link_shape(struct db_link *l, struct portal_shape *out);

#endif
