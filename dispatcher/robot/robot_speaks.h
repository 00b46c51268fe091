/* SPDX-License-Identifier: MIT */
/*
 * robot_speaks.h - which of the optional calls a robot speaks, and what its answers to them are worth. Pure.
 *
 * An optional call is believed only in its own JSON shape: frameworks answer unknown paths with 200 and a page, 404, 401, 403, 405 or
 * a redirect. Each call is known for itself. What was spoken once is not taken for missing at the first odd answer: a proxy in front of a
 * robot that restarts says 404 too.
 */
#ifndef CHASQUI_ROBOT_SPEAKS_H
#define CHASQUI_ROBOT_SPEAKS_H

#include "dispatcher/robot/robot_http.h"

struct jv;

struct speech {   /* one call */
    int8_t known; /* 1 it is spoken, 0 it is not, -1 not known yet */
    uint8_t odd;  /* odd answers in a row */
};

struct speaks {          /* of one robot under one boot; robot_speaks_reset() before use */
    struct speech list;  /* GET /sessions */
    struct speech close; /* DELETE /sessions/{id} */
    struct speech fence; /* POST /sessions/fence */
    /* to a GET /sessions that it does not know it said {"ok":true}, or 2xx with nothing */
    bool is_ok_to_all, is_empty_to_all;
};

enum told {
    TOLD_YES,        /* the list is there; the session is gone; nothing at or below the epoch runs or can start */
    TOLD_NOT_SPOKEN, /* the robot does not know the call */
    TOLD_NOTHING     /* nothing that can be relied on: ask again */
};

void robot_speaks_reset(struct speaks *s);
/* GET /sessions -> {"sessions":[{"session_id":"…",…}]}. *body is the caller's: NULL unless TOLD_YES. */
enum told robot_told_list(struct speaks *s, const struct call_answer *a, struct jv **body);
/* DELETE /sessions/{id} -> 2xx {"ok":true} or with nothing, or 404 and JSON about the session. */
enum told robot_told_closed(struct speaks *s, const struct call_answer *a);
/* POST /sessions/fence -> 2xx {"ok":true,"epoch":N}. The epoch may be missing. */
enum told robot_told_fenced(struct speaks *s, const struct call_answer *a, uint64_t epoch);

#endif
