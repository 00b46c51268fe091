/* SPDX-License-Identifier: MIT */
/* db_hosts.c - the list of servers. Owns the list, which never changes; only the choice among its hosts does. */
#include "db/db_hosts.h"

#include "common/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct db_hosts {
    unsigned n;
    _Atomic int chosen;
    struct db_host host[];
};

/* Reads "host", "host:port", "[address]:port" or a bare IPv6 address. conf.c has checked the text. */
static void host_read(struct db_host *h, const char *text, unsigned port)
{
    const char *colon = strrchr(text, ':'), *end = text + strlen(text);
    bool is_bracketed = text[0] == '[',
         has_port = colon && (is_bracketed ? colon > text && colon[-1] == ']' : strchr(text, ':') == colon);
    h->port = has_port ? (unsigned)strtoul(colon + 1, NULL, 10) : port;
    const char *from = text + is_bracketed, *to = has_port ? colon : end;
    if (is_bracketed && to > from && to[-1] == ']')
        to--;
    snprintf(h->host, sizeof(h->host), "%.*s", (int)(to - from), from);
    snprintf(h->name, sizeof(h->name), strchr(h->host, ':') ? "[%s]:%u" : "%s:%u", h->host, h->port);
}

struct db_hosts *db_hosts_new(const struct conf *conf)
{
    unsigned n = 1;
    char **list = conf->db_socket ? NULL : conf_list(conf->db_host, &n);
    struct db_hosts *h = xcalloc(1, sizeof(*h) + n * sizeof(h->host[0]));
    h->n = n;
    if (conf->db_socket)
        snprintf(h->host[0].name, sizeof(h->host[0].name), "%s", conf->db_socket);
    else
        for (unsigned i = 0; i < n; i++)
            host_read(&h->host[i], list[i], (unsigned)conf->db_port);
    free(list);
    return h;
}

void db_hosts_destroy(struct db_hosts **hp)
{
    free(*hp);
    *hp = NULL;
}

unsigned db_hosts_count(const struct db_hosts *h)
{
    return h->n;
}

const struct db_host *db_host_at(const struct db_hosts *h, unsigned i)
{
    CHECK(i < h->n, "no host %u", i);
    return &h->host[i];
}

int db_hosts_chosen(const struct db_hosts *h)
{
    return atomic_load(&h->chosen);
}

void db_hosts_choose(struct db_hosts *h, int i)
{
    CHECK(i == DB_NO_HOST || (i >= 0 && (unsigned)i < h->n), "no host %d", i);
    atomic_store(&h->chosen, i);
}

bool db_node_is_synced(const struct db_node *node)
{
    return !node->state[0] || strcmp(node->state, "Synced") == 0;
}
