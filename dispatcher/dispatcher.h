/* SPDX-License-Identifier: MIT */
/*
 * dispatcher.h - what all files of the dispatcher share: one struct, passed on. One thread (the loop) owns everything in it; the database's
 * threads see ops only (store/store.h). Each part is made, used and ended by the file of its name; docs/ARCHITECTURE.md, Floors, says in
 * which room it stands.
 */
#ifndef CHASQUI_DISPATCHER_H
#define CHASQUI_DISPATCHER_H

#include "common/action.h"
#include "common/bus.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/jv.h"
#include "common/loop.h"
#include "common/quota.h"
#include "common/stat.h"
#include "dispatcher/robot/backoff.h"
#include "dispatcher/robot/robot_http.h"
#include "dispatcher/robot/robot_speaks.h"
#include "db/seal.h"
#include "dispatcher/store/store.h"
#include "proto/proto.h"

#include <limits.h>

struct news;
struct request;
struct robot;

struct dispatcher {
    struct loop *loop;
    struct quota stream_memory;
    const struct conf *conf;
    struct bus *bus;
    struct store *store;
    struct seal *seal; /* NULL without seal.key_file: then params and credentials are refused (see login.c) */
    struct robot_http *robot_http;
    char name[NAME_ROOM];
    char boot_id[65];
    bool draining;
    const struct news *news;  /* news.h */
    uint64_t robots_revision; /* of the registry of robots that we know, 0 = none yet; written by robots.c */
    bool robots_asked;        /* the first look at that registry has succeeded or failed; written by robots.c */

    /* each owned by its file, opaque elsewhere */
    struct peers *peers;
    struct requests *requests;
    struct logins *logins;
    struct rounds *rounds;
    struct lookups *lookups;
    struct robots *robots;
    struct helds *helds;
    struct health_sub *health_sub;
    struct leases *leases;
    struct migrations *migrations;
    struct reconciler *reconciler;
    struct sweep *sweep;
    struct activity *activity;
    struct tally *tally;
    struct summaries *summaries;
    struct drains *drains;
    struct silences *silences;
    struct unanswered *unanswered;
    struct boot_checks *boot_checks;
    struct batches *batches;
    struct schedules *schedules;
    struct webhooks *webhooks;
    struct retention *retention;
    struct history *history;
    struct row_repair *row_repair;
    struct queue *queue;
    struct job_waits *job_waits;
    struct bulkheads *bulkheads;
    struct together *together;
    struct verifier *verifier;
    struct events *events;
    struct alerts *alerts;
    struct portals *portals;
};

#endif
