/* SPDX-License-Identifier: MIT */
/*
 * db_connect.h - a connection to one of the servers, and whether that takes
 * writes. A part of mariadb.c, which is what others use.
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
    bool is_alone;       /* the hosts are ours, and we choose among them; else somebody else does */
    unsigned at;         /* the host of the connection */
    bool is_new;         /* it was opened, and nothing was done with it yet */
    bool is_node;        /* its server is a node of a Galera cluster */
    unsigned patience_s; /* how long one answer may take */
    _Atomic int cut;     /* a copy of the connection's descriptor; it belongs to whoever takes it out. -1 = none */
    struct st_mysql *my; /* NULL = no connection */
    char error[400];     /* the last failure, for people */
};

/* hosts NULL = alone. */
void db_link_init(struct db_link *l, const struct conf *conf, struct db_hosts *hosts, unsigned patience_s);
void db_link_end(struct db_link *l);
/* Session settings included; TLS as db.tls_* say. False: `error` says why. There must be no connection. */
bool db_link_open(struct db_link *l, unsigned host, unsigned connect_s);
/* To the first host that takes writes, else to the first that answers. */
bool db_link_open_alone(struct db_link *l, unsigned connect_s);
void db_link_close(struct db_link *l);
/* Breaks the connection under its owner, who finds it broken. By any thread. */
void db_link_cut(struct db_link *l);
/* Asks by a write that changes nothing: a server refuses it as it would any other. */
enum db_takes {
    DB_TAKES_WRITES,
    DB_TAKES_READS,
    DB_TAKES_NOTHING /* the connection is of no use */,
    DB_TAKES_OTHERS /* no table of ours */
};
enum db_takes db_link_ask(struct db_link *l);
/* What a node of a cluster says of itself; of one server all is empty, and nothing is asked. False: `error` says why. */
bool db_link_node(struct db_link *l, struct db_node *out);
/* What portal_jobs is like now. False: what is wrong with the connection, its next statement tells. */
bool db_link_shape(struct db_link *l, struct portal_shape *out);

#endif
