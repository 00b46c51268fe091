/* SPDX-License-Identifier: MIT */
/*
 * db_hosts.h - the servers of db.host, in order, and which of them is used.
 *
 * All connections of a process are on one server: whoever looks after them
 * (store_pulse.c) chooses it, the others follow at their next use. The choice
 * is one atomic number, read by every database thread.
 */
#ifndef CHASQUI_DB_HOSTS_H
#define CHASQUI_DB_HOSTS_H

#include "common/conf.h"
#include <stdbool.h>

#define DB_NO_HOST (-1) /* none is to be used: fail at once rather than wait for one */

struct db_host {
    char name[300]; /* host:port or the socket's path, for people */
    char host[256]; /* "" = the socket */
    unsigned port;
};
struct db_hosts;

/* What a server says of itself as a node of a Galera cluster. */
struct db_node {
    char state[24];   /* "Synced", "Donor/Desynced", "Joined", ...; "" = not a node */
    char cluster[40]; /* the UUID of its cluster */
    unsigned size;    /* nodes that are in touch */
};
/* True of one server, too. Else the node takes writes, and may be behind the others: a donor, or one that has just joined. */
bool db_node_is_synced(const struct db_node *node);

/* From db.host ("host[:port], ..."; IPv6 addresses with a port in brackets), or db.socket alone. The first one is chosen. */
struct db_hosts *db_hosts_new(const struct conf *conf);
void db_hosts_destroy(struct db_hosts **hp);
unsigned db_hosts_count(const struct db_hosts *h);
const struct db_host *db_host_at(const struct db_hosts *h, unsigned i);
int db_hosts_chosen(const struct db_hosts *h);
void db_hosts_choose(struct db_hosts *h, int i);

#endif
