/* SPDX-License-Identifier: MIT */
/*
 * robot_speaks.h - which optional calls a robot supports, and how far its answers to them can be trusted. Pure.
 *
 * An answer to an optional call counts only in the call's own JSON shape, because frameworks answer unknown paths
 * with 200 and a page, 404, 401, 403, 405 or a redirect. Support is recorded per call. A call that was supported
 * once does not count as missing at the first odd answer: a proxy in front of a restarting robot also answers 404.
 */
#ifndef CHASQUI_ROBOT_SPEAKS_H
#define CHASQUI_ROBOT_SPEAKS_H

#include "dispatcher/robot/robot_http.h"

struct jv;

struct speech {   /* one call */
    int8_t known; /* 1 supported, 0 not supported, -1 unknown yet */
    uint8_t odd;  /* odd answers in a row */
};

struct speaks {          /* of one robot under one boot; robot_speaks_reset() before use */
    struct speech list;  /* GET /sessions */
    struct speech close; /* DELETE /sessions/{id} */
    struct speech fence; /* POST /sessions/fence */
    /* It answered {"ok":true}, or 2xx with an empty body, to a GET /sessions that it does not support. */
    bool is_ok_to_all, is_empty_to_all;
};

enum told {
    /* Per call: the list is there; the session is gone; nothing at or below the epoch runs or can start. */
    TOLD_YES,
    TOLD_NOT_SPOKEN, /* the robot does not support the call */
    TOLD_NOTHING     /* no reliable answer: ask again */
};

void robot_speaks_reset(struct speaks *s);
/* GET /sessions -> {"sessions":[{"session_id":"…",…}]}. The caller frees *body: NULL unless TOLD_YES. */
enum told robot_told_list(struct speaks *s, const struct call_answer *a, struct jv **body);
/* DELETE /sessions/{id} -> 2xx {"ok":true} or an empty body, or 404 and JSON about the session. */
enum told robot_told_closed(struct speaks *s, const struct call_answer *a);
/* POST /sessions/fence -> 2xx {"ok":true,"epoch":N}. The epoch may be missing. */
enum told robot_told_fenced(struct speaks *s, const struct call_answer *a, uint64_t epoch);

#endif
