/* SPDX-License-Identifier: MIT */
/*
 * broker.h - the struct shared by all files of the broker and passed on. One thread (the loop) owns everything in
 * it. Each member is made, used and destroyed by the file of its name; docs/ARCHITECTURE.md says what each file is
 * for.
 */
#ifndef CHASQUI_BROKER_H
#define CHASQUI_BROKER_H

#include "common/buf.h"
#include "common/bus.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/id.h"
#include "common/jv.h"
#include "common/loop.h"
#include "common/quota.h"
#include "common/stat.h"
#include "proto/proto.h"

struct broker {
    struct loop *loop;
    struct quota stream_memory;
    const struct conf *conf;
    struct bus *bus;
    char name[64]; /* its address for clients */
    char boot_id[ID_BOOT_BYTES];
    uint64_t started_ms;
    bool is_stopping;                 /* SIGTERM arrived: readyz reports it, and each answer ends its connection */
    bool is_draining;                 /* the listeners are closed, or about to be */
    bool is_failed;                   /* it cannot continue: the process exits with a failure */
    uint64_t log_until_ms, log_lines; /* answers logged in this second; used by exchange.c */

    /* each owned by its file, opaque elsewhere */
    struct http *http;
    struct auth *auth;
    struct ratelimit *ratelimit;
    struct flights *flights;
    struct peers *peers;
    struct health *health;
    struct web_sessions *web_sessions;
    struct tally *tally;
    struct fleet *fleet;
    struct companies *companies;
    struct attempt_sums *attempts;
    struct summary *summary;
    struct alerts *alerts;
    struct headline *headline; /* owned by words.c */
    struct token_use *token_use;
    struct holders *holders; /* requests by owner; each owner has at most half of the connections */
    struct trend *trend;
    struct stats_board *board;
    struct uploads *uploads;
    struct live *live;
    struct progress *progress;
    struct feed *feed;
};

struct client;
struct exchange;
struct flight;
struct peer;
struct sse;
struct stream;
struct upload;

#endif
