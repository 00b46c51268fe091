/* SPDX-License-Identifier: MIT */
/*
 * db_hosts.h - the servers of db.host, in order, and which of them is in use.
 *
 * All connections of a process use the same server. store_pulse.c chooses it; the other connections follow at
 * their next use. The choice is one atomic number, which every database thread reads.
 */
#ifndef CHASQUI_DB_HOSTS_H
#define CHASQUI_DB_HOSTS_H

#include "common/conf.h"
#include <stdbool.h>

#define DB_NO_HOST (-1) /* no server is usable: fail at once instead of waiting for one */

struct db_host {
    char name[300]; /* host:port or the socket's path, as text for people */
    char host[256]; /* "" = the socket */
    unsigned port;
};
struct db_hosts;

/* A server's own report as a node of a Galera cluster. */
struct db_node {
    char state[24];   /* "Synced", "Donor/Desynced", "Joined", ...; "" = not a node */
    char cluster[40]; /* the UUID of its cluster */
    unsigned size;    /* nodes in contact */
};
/* Whether the node is in step with its cluster; true for a single server too. A node that is not takes writes but
 * may lag behind the others: it is a donor, or has just joined. */
bool db_node_is_synced(const struct db_node *node);

/* Parses db.host ("host[:port], ..."; IPv6 addresses with a port in brackets), or takes db.socket alone. The first
 * host is chosen. */
struct db_hosts *db_hosts_new(const struct conf *conf);
void db_hosts_destroy(struct db_hosts **hp);
unsigned db_hosts_count(const struct db_hosts *h);
const struct db_host *db_host_at(const struct db_hosts *h, unsigned i);
int db_hosts_chosen(const struct db_hosts *h);
void db_hosts_choose(struct db_hosts *h, int i);

#endif
