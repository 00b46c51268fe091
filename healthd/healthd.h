/* SPDX-License-Identifier: MIT */
/*
 * healthd.h - the structs shared inside healthd.
 *
 *   main.c     start and stop
 *   verdict.c  the verdict (pure)
 *   probe.c    GET /health of every robot (with common/curl, the only file that includes curl)
 *   publish.c  receives the robot list from dispatchers, publishes verdicts to subscribers
 *
 * healthd has no database and decides only verdicts. Its list of robots comes from dispatchers and is lost when it
 * stops.
 */
#ifndef CHASQUI_HEALTHD_H
#define CHASQUI_HEALTHD_H

#include "common/boots.h"
#include "common/bus.h"
#include "common/conf.h"
#include "common/loop.h"
#include "common/resolver.h"
#include "healthd/verdict.h"

struct healthd {
    struct loop *loop;
    const struct conf *conf;
    struct bus *bus;
    struct prober *prober;
    struct publisher *publisher;
};

/* The outcome of one probe. */
struct probe_result {
    bool good;
    bool no_process; /* when not good: the port refused or reset the connection */
    char why[64];    /* reason when not good: see common/curl_word.h, or status_500, not_json, not_ok, too_big */
    int64_t sessions, capacity; /* -1 = not reported */
    char boot_id[65];           /* "" = not reported */
};

struct target { /* a robot; owned by probe.c */
    char name[65], base_url[256];
    struct judgement judgement;
    int64_t since_unix_ms;
    struct probe_result last;
    struct boots boots;
    bool is_two; /* two processes answer under its URL; an up robot is then published as suspect */
    struct target *next;
    /* private to probe.c */
    void *easy;
    bool is_listed, is_busy;
    struct loop_timer due;
    struct prober *prober;
    struct buf body;
    bool too_big;
    char error[256]; /* CURL_ERROR_SIZE; curl's own message */
    char boot_header[65];
    uint64_t asked_ms;
    unsigned n_probes;
    char *host, *port; /* NULL = the host in the base URL is an address */
    struct resolver_wait wait;
    uint64_t began_ms, loaded; /* loaded: generation of the addresses that curl holds */
    struct curl_slist *resolve;
};

struct prober *prober_new(struct healthd *h);
void prober_destroy(struct prober **pp);
/* Replaces the list of robots. Robots not in it are forgotten; new ones are probed soon. */
void prober_list(struct healthd *h, struct str rows);
void prober_each(struct healthd *h, void (*fn)(void *arg, const struct target *t), void *arg);
unsigned prober_count(const struct healthd *h);

struct publisher *publisher_new(struct healthd *h);
void publisher_destroy(struct publisher **pp);
void publish_change(struct healthd *h, const struct target *t);
void publish_full(struct healthd *h);

#endif
