/* SPDX-License-Identifier: MIT */
/*
 * roster.c - the dispatchers as shown to operators: which are connected, which went and when, what each reports.
 * Owns the memory of those that went: at most GONE_MAX, for ten minutes.
 */
#include "broker/roster.h"
#include "broker/fleet.h"
#include "broker/numbers.h"
#include "broker/peer.h"
#include "broker/stats.h"
#include "broker/window.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- coming and going --------------------------------------------------------------------------------------- */

void roster_came(struct peers *ps, const char *name)
{
    for (unsigned i = 0; i < GONE_MAX; i++)
        if (strcmp(ps->gone[i].name, name) == 0)
            ps->gone[i] = (struct gone){.since_ms = 0};
}

void roster_ended(struct peers *ps, const char *name)
{
    struct twice *t = &ps->twice;
    int64_t now = clock_unix_ms();
    if (strcmp(t->name, name) != 0 || now > t->last_ms + TWICE_MS)
        t->n = 0;
    strcpy(t->name, name);
    t->last_ms = now;
    t->n++;
}

/* Replaces the one that went first when there are too many. */
void roster_went(struct peers *ps, const struct peer *p)
{
    struct gone *at = &ps->gone[0];
    roster_came(ps, p->name);
    for (unsigned i = 1; i < GONE_MAX && at->since_ms; i++)
        if (ps->gone[i].since_ms < at->since_ms)
            at = &ps->gone[i];
    strcpy(at->name, p->name);
    strcpy(at->boot_id, p->boot_id);
    strcpy(at->version, p->version);
    at->since_ms = clock_unix_ms();
    at->was_draining = p->is_draining;
}

void roster_stats(struct broker *b, struct peer *p, const struct stats *now)
{
    if (p->window)
        fleet_stats_told(b, &p->stats, now);
    p->stats = *now;
    p->stats_unix_ms = clock_unix_ms();
    p->sum.requests = now->v[STAT_requests_total];
    p->sum.logins = now->v[STAT_logins_total];
    p->sum.logins_failed = now->v[STAT_logins_failed_total];
    p->sum.op = now->h[HIST_database_op_seconds];
    if (!p->window) /* counts from before we knew it are not a rate */
        p->window = window_new(sizeof p->sum / sizeof(uint64_t), SUMS_SLOTS, SUMS_STEP_MS, loop_now_ms(b->loop),
                               (const uint64_t *)&p->sum);
    window_step(p->window, loop_now_ms(b->loop), (const uint64_t *)&p->sum);
}

/* ---- for people --------------------------------------------------------------------------------------------- */

static bool is_remembered(const struct gone *g)
{
    return g->since_ms && clock_unix_ms() < g->since_ms + GONE_MS;
}

struct peers_count peers_count(const struct broker *b)
{
    struct peers_count n = {0};
    for (const struct peer *p = b->peers->list; p; p = p->next) {
        bool is_here = p->is_here && !p->is_lost;
        n.here += is_here;
        n.draining += is_here && p->is_draining;
        n.queued_running += is_here ? p->stats.v[STAT_queue_running] : 0;
        n.usable += peer_is_usable(p);
        n.with_database += peer_is_usable(p) && p->is_database_ok;
    }
    for (unsigned i = 0; i < GONE_MAX; i++) {
        if (!is_remembered(&b->peers->gone[i]))
            continue;
        n.gone++;
        if (b->peers->gone[i].since_ms > n.last_gone_ms)
            n.last_gone_ms = b->peers->gone[i].since_ms;
    }
    return n;
}

void peers_each_gone(const struct broker *b,
                     void (*fn)(void *arg, const char *name, int64_t since_ms, bool was_draining), void *arg)
{
    for (unsigned i = 0; i < GONE_MAX; i++)
        if (is_remembered(&b->peers->gone[i]))
            fn(arg, b->peers->gone[i].name, b->peers->gone[i].since_ms, b->peers->gone[i].was_draining);
}

const char *peers_twice(const struct broker *b)
{
    const struct twice *t = &b->peers->twice;
    return t->n >= TWICE_LEAST && clock_unix_ms() < t->last_ms + TWICE_MS ? t->name : NULL;
}

void peers_each_draining(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg)
{
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here && !p->is_lost && p->is_draining)
            fn(arg, p->name);
}

void peers_each_broker_lost(const struct broker *b, void (*fn)(void *arg, const char *endpoint), void *arg)
{
    for (const struct peer *p = b->peers->list; p; p = p->next)
        for (const char *at = p->brokers_lost; peer_is_usable(p) && *at;) {
            char endpoint[sizeof p->brokers_lost];
            size_t len = strcspn(at, ",");
            str_copy(endpoint, sizeof endpoint, (struct str){at, (uint32_t)len});
            if (len)
                fn(arg, endpoint);
            at += len + (at[len] == ',');
        }
}

void peers_each_at_limit(const struct broker *b, void (*fn)(void *arg, const struct at_limit *one), void *arg)
{
    for (const struct peer *p = b->peers->list; p; p = p->next)
        for (const char *at = p->at_limit; peer_is_usable(p) && *at; at += *at == ',') {
            struct at_limit one;
            if (sscanf(at, "%15[a-z]:%64[^:,]:%*15[a-z]:%*u:%u:%u", one.kind, one.who, &one.limit, &one.waiting) ==
                4)
                fn(arg, &one);
            at += strcspn(at, ",");
        }
}

const char *peers_database_why(const struct broker *b, char *why, size_t room)
{
    static const char *const kinds[] = {"read_only", "hung"};
    str_copy(why, room, str_of(""));
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (const struct peer *p = b->peers->list; p; p = p->next) {
            size_t len = strlen(kinds[i]);
            if (peer_is_usable(p) && strncmp(p->database, kinds[i], len) == 0 && p->database[len] == ':') {
                str_copy(why, room, str_of(p->database + len + 1));
                return kinds[i];
            }
        }
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (peer_is_usable(p) && strncmp(p->database, "gone:", 5) == 0)
            str_copy(why, room, str_of(p->database + 5));
    return "gone";
}

void peers_each_trouble(const struct broker *b, void (*fn)(void *arg, const struct database_trouble *one),
                        void *arg)
{
    for (const struct peer *p = b->peers->list; p; p = p->next)
        for (const char *at = p->troubles; peer_is_usable(p) && *at; at += *at == '\n') {
            struct database_trouble one = {0};
            unsigned long long n, s;
            if (sscanf(at, "%32[^\t\n]\t%12[^\t\n]\t%llu\t%llu\t%160[^\t\n]", one.duty, one.kind, &n, &s,
                       one.why) >= 4) {
                one.n = n;
                one.for_s = s;
                fn(arg, &one);
            }
            at += strcspn(at, "\n");
        }
}

/* Splits the text written by the dispatcher's store_node_text(). */
static struct node_told node_of(const struct peer *p)
{
    struct node_told n = {.dispatcher = p->name};
    char text[sizeof p->node], *rest = text;
    strcpy(text, p->node);
    const char *field[5];
    for (unsigned i = 0; i < 5; i++)
        field[i] = rest ? strsep(&rest, "\t") : "";
    str_copy(n.host, sizeof n.host, str_of(field[0]));
    str_copy(n.state, sizeof n.state, str_of(field[1]));
    n.size = (unsigned)strtoul(field[2], NULL, 10);
    n.listed = (unsigned)strtoul(field[3], NULL, 10);
    str_copy(n.left, sizeof n.left, str_of(field[4]));
    return n;
}

void peers_each_node(const struct broker *b, void (*fn)(void *arg, const struct node_told *one), void *arg)
{
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (peer_is_usable(p) && *p->node) {
            struct node_told n = node_of(p);
            fn(arg, &n);
        }
}

bool node_left_next(const char **at, char kind[16], char host[256])
{
    int len = 0;
    if (sscanf(*at, "%15[a-z] %255[^,],%n", kind, host, &len) != 2 || !len)
        return false;
    *at += len;
    return true;
}

const char *node_left_why(const char *kind)
{
    return strcmp(kind, "foreign") == 0 ? "it is not a node of the cluster that is used"
                                        : "it has no tables of ours";
}

static void node_set(struct jv *db, const struct peer *p)
{
    struct node_told n = node_of(p);
    struct jv *left = jv_new_array();
    const char *at = n.left;
    char kind[16], host[256];
    jv_set_str(db, "host", *n.host ? n.host : NULL);
    jv_set_int(db, "hosts", n.listed);
    jv_set_str(db, "node_state", *n.state ? n.state : NULL);
    if (*n.state)
        jv_set_int(db, "cluster_size", n.size);
    else
        jv_set(db, "cluster_size", NULL);
    while (node_left_next(&at, kind, host)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "host", host);
        jv_set_str(one, "why", node_left_why(kind));
        jv_push(left, one);
    }
    jv_set(db, "left_alone", left);
}

static struct jv *database_jv(const struct peer *p, const struct peer_sum *grown)
{
    struct jv *db = jv_new_object();
    jv_set_bool(db, "ok", p->is_database_ok);
    jv_set_int(db, "threads", (int64_t)p->stats.v[STAT_database_threads]);
    jv_set_int(db, "busy", (int64_t)p->stats.v[STAT_database_threads_busy]);
    jv_set_int(db, "queued", (int64_t)p->stats.v[STAT_database_ops_waiting]);
    jv_set(db, "op_s", jv_new_times(&grown->op));
    node_set(db, p);
    return db;
}

static void rates_set(const struct broker *b, const struct peer *p, struct jv *one)
{
    struct peer_sum grown = {0};
    uint64_t now = loop_now_ms(b->loop);
    double s =
        p->window ? window_since(p->window, now, (const uint64_t *)&p->sum, RATE_MS, (uint64_t *)&grown) : 1;
    s = rate_span(s);
    jv_set_number(one, "requests_per_s", (double)grown.requests / s);
    jv_set_number(one, "logins_per_s", (double)grown.logins / s);
    jv_set_number(one, "logins_failed_per_s", (double)grown.logins_failed / s);
    if (p->window)
        window_since(p->window, now, (const uint64_t *)&p->sum, TIMES_MS, (uint64_t *)&grown);
    jv_set(one, "database", database_jv(p, &grown));
}

static int64_t gone_since(const struct peers *ps, const struct peer *p)
{
    for (unsigned i = 0; i < GONE_MAX; i++)
        if (strcmp(ps->gone[i].name, p->name) == 0)
            return ps->gone[i].since_ms;
    return 0;
}

static struct jv *peer_jv(const struct broker *b, const struct peer *p)
{
    struct jv *one = jv_new_object(), *credit = jv_new_object();
    bool is_here = p->is_here && !p->is_lost;
    jv_set_str(one, "name", p->name);
    jv_set_str(one, "boot_id", p->boot_id);
    jv_set_str(one, "version", p->version);
    jv_set_time(one, "as_of", p->stats_unix_ms);
    jv_set_bool(one, "connected", is_here);
    jv_set_time(one, "gone_since", is_here ? 0 : gone_since(b->peers, p));
    jv_set_bool(one, "database_ok", p->is_database_ok);
    jv_set_bool(one, "draining", p->is_draining);
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        jv_set_int(credit, lane_name[lane], (int64_t)peer_credit(p, lane));
    jv_set(one, "credit", credit);
    jv_set_int(one, "in_flight", (int64_t)p->n_flights);
    jv_set_int(one, "capacity", (int64_t)p->capacity);
    jv_set_int(one, "last_seen_ms", (int64_t)(loop_now_ms(b->loop) - p->heard_at_ms));
    jv_set_int(one, "uptime_s", (int64_t)p->stats.v[STAT_uptime_seconds]);
    rates_set(b, p, one);
    jv_set(one, "stats", jv_new_stats(STAT_DISPATCHER, &p->stats));
    return one;
}

static struct jv *gone_jv(const struct gone *g)
{
    struct jv *one = jv_new_object();
    jv_set_str(one, "name", g->name);
    jv_set_str(one, "boot_id", g->boot_id);
    jv_set_str(one, "version", g->version);
    jv_set_bool(one, "connected", false);
    jv_set_time(one, "gone_since", g->since_ms);
    jv_set_bool(one, "draining", g->was_draining);
    return one;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct peer *const *)a)->name, (*(const struct peer *const *)b)->name);
}

static const struct peer *peer_named(const struct peers *ps, const char *name)
{
    const struct peer *p = ps->list;
    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    return p;
}

struct jv *peers_jv(const struct broker *b)
{
    struct jv *list = jv_new_array();
    size_t n = 0;
    for (const struct peer *p = b->peers->list; p; p = p->next)
        n++;
    const struct peer **order = xcalloc(n + 1, sizeof *order);
    n = 0;
    for (const struct peer *p = b->peers->list; p; p = p->next)
        order[n++] = p;
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 0; i < n; i++)
        jv_push(list, peer_jv(b, order[i]));
    free(order);
    for (unsigned i = 0; i < GONE_MAX; i++)
        if (is_remembered(&b->peers->gone[i]) && !peer_named(b->peers, b->peers->gone[i].name))
            jv_push(list, gone_jv(&b->peers->gone[i]));
    return list;
}

unsigned peers_sources(const struct broker *b, struct stat_source *out, unsigned max)
{
    unsigned n = 0;
    for (struct peer *p = b->peers->list; p && n < max; p = p->next)
        if (p->is_here)
            out[n++] = (struct stat_source){STAT_DISPATCHER, "dispatcher", p->name, &p->stats};
    return n;
}

static void nodes_metrics(const struct broker *b, struct buf *out)
{
    stat_family(out, FAMILY_dispatcher_database_host);
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here && *p->node) {
            struct node_told n = node_of(p);
            stat_sample(out, FAMILY_dispatcher_database_host, 1, (const char *const[]){p->name, n.host, n.state});
        }
    stat_family(out, FAMILY_dispatcher_cluster_size);
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here && *p->node)
            stat_sample(out, FAMILY_dispatcher_cluster_size, node_of(p).size, (const char *const[]){p->name});
}

void peers_metrics(const struct broker *b, struct buf *out)
{
    stat_family(out, FAMILY_dispatcher_connected);
    for (const struct peer *p = b->peers->list; p; p = p->next)
        stat_sample(out, FAMILY_dispatcher_connected, p->is_here && !p->is_lost,
                    (const char *const[]){p->name, p->version});
    for (unsigned i = 0; i < GONE_MAX; i++) /* a dispatcher that was shut down properly is not missing */
        if (is_remembered(&b->peers->gone[i]) && !b->peers->gone[i].was_draining &&
            !peer_named(b->peers, b->peers->gone[i].name))
            stat_sample(out, FAMILY_dispatcher_connected, 0,
                        (const char *const[]){b->peers->gone[i].name, b->peers->gone[i].version});
    stat_family(out, FAMILY_dispatcher_database_up);
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here)
            stat_sample(out, FAMILY_dispatcher_database_up, p->is_database_ok, (const char *const[]){p->name});
    nodes_metrics(b, out);
    stat_family(out, FAMILY_dispatcher_credit);
    for (const struct peer *p = b->peers->list; p; p = p->next)
        for (enum lane lane = 0; p->is_here && lane < LANE_COUNT; lane++)
            stat_sample(out, FAMILY_dispatcher_credit, (double)peer_credit(p, lane),
                        (const char *const[]){p->name, lane_name[lane]});
}
