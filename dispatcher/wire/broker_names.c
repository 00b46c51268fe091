/* SPDX-License-Identifier: MIT */
/*
 * broker_names.c - brokers behind one name.
 *
 * Owns: a resolver, and an entry for each name. A name that cannot be looked up is retried and logged once; its
 * last known addresses stay (resolver.h). Of a name with addresses of both kinds only the IPv4 ones are used,
 * because the IPv6 ones are the same brokers.
 */
#include "dispatcher/wire/broker_names.h"

#include "common/bus.h"
#include "common/check.h"
#include "common/log.h"
#include "common/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct broker_names *names;
    unsigned number;
    char endpoint[BUS_ENDPOINT_BYTES], host[BUS_ENDPOINT_BYTES];
    const char *port; /* points into endpoint */
    bool is_unknown_said;
    struct resolver_wait wait;
    struct entry *next;
};

struct broker_names {
    struct loop *loop;
    struct resolver *resolver;
    struct entry *entries;
    broker_names_fn *fn;
    void *arg;
    struct loop_timer timer;
};

static bool has_v4(const char *addresses)
{
    while (*addresses == '[') {
        addresses += strcspn(addresses, ",");
        addresses += strspn(addresses, ",");
    }
    return *addresses != '\0';
}

static void addresses_tell(struct entry *e, const char *addresses)
{
    char text[RESOLVER_ADDRESSES_MAX][BUS_ENDPOINT_BYTES];
    const char *endpoints[RESOLVER_ADDRESSES_MAX];
    unsigned n = 0;
    bool is_v4 = has_v4(addresses);
    for (const char *p = addresses; *p && n < RESOLVER_ADDRESSES_MAX; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        if (!is_v4 || *p != '[') {
            snprintf(text[n], sizeof(text[n]), "tcp://%.*s:%s", (int)len, p, e->port);
            endpoints[n] = text[n];
            n++;
        }
        p += len;
    }
    e->is_unknown_said = false;
    if (n)
        e->names->fn(e->names->arg, e->number, endpoints, n);
}

static void name_came(void *arg, const struct resolved *found, const char *why)
{
    struct entry *e = arg;
    if (found) {
        addresses_tell(e, found->addresses);
        return;
    }
    if (!e->is_unknown_said)
        log_line(LOG_WARN, "broker_name_unknown", "endpoint", e->endpoint, "why", why, NULL);
    e->is_unknown_said = true;
}

static void entry_look(struct entry *e)
{
    struct resolver *r = e->names->resolver;
    if (e->wait.resolver)
        return;
    const struct resolved *known = resolver_look(r, e->host);
    if (known) {
        addresses_tell(e, known->addresses);
        resolver_doubt(r, e->host);
    } else {
        e->wait = (struct resolver_wait){.fn = name_came, .arg = e};
        resolver_wait(r, e->host, BROKER_NAMES_MS, &e->wait);
    }
}

static void look_due(void *arg)
{
    struct broker_names *b = arg;
    for (struct entry *e = b->entries; e; e = e->next)
        entry_look(e);
    loop_timer_in(b->loop, &b->timer, BROKER_NAMES_MS);
}

bool broker_names_add(struct broker_names *b, unsigned entry, const char *endpoint)
{
    char host[BUS_ENDPOINT_BYTES];
    if (strlen(endpoint) >= BUS_ENDPOINT_BYTES || !bus_endpoint_name(endpoint, host))
        return false;
    struct entry *e = xcalloc(1, sizeof(*e));
    snprintf(e->endpoint, sizeof(e->endpoint), "%s", endpoint);
    strcpy(e->host, host);
    e->port = strrchr(e->endpoint, ':') + 1;
    if (!b->resolver)
        b->resolver = resolver_new(b->loop);
    e->names = b;
    e->number = entry;
    e->next = b->entries;
    b->entries = e;
    loop_timer_in(b->loop, &b->timer, 0);
    return true;
}

struct broker_names *broker_names_new(struct loop *l, broker_names_fn *fn, void *arg)
{
    struct broker_names *b = xcalloc(1, sizeof(*b));
    b->loop = l;
    b->fn = fn;
    b->arg = arg;
    b->timer = (struct loop_timer){.fn = look_due, .arg = b};
    return b;
}

void broker_names_destroy(struct broker_names **bp)
{
    struct broker_names *b = *bp;
    if (!b)
        return;
    *bp = NULL;
    loop_timer_stop(b->loop, &b->timer);
    resolver_destroy(&b->resolver);
    for (struct entry *e = b->entries, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    free(b);
}
