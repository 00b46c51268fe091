/* SPDX-License-Identifier: MIT */
/*
 * pass.h - a request that goes on to a session's robot as its client wrote it: robot.pass, and what of its head goes on.
 */
#ifndef CHASQUI_PASS_H
#define CHASQUI_PASS_H

#include "common/action.h"
#include "common/buf.h"
#include "proto/proto.h"

#include <stdbool.h>

struct pass { /* owned texts; "" = none */
    char *method, *path, *query, *content_type;
    char *header[3]; /* whole lines, ended by NULL */
};

/* What a REQUEST of ROBOT_PASS says; bytes that do not belong into a head make it NULL. Free with pass_free(). */
struct pass *pass_new(const struct msg_REQUEST *m);
void pass_free(struct pass *p); /* NULL is fine */

/* May this path (what follows /api/v1/app/robot/) be asked for? It must begin with one of the comma list's paths, which end where a
 * segment ends. Never: dot segments, backslashes, empty segments, and encoded slashes, however often they are encoded; ways to make, end or list sessions, which only Chasqui does. */
bool pass_path_ok(const char *comma_list, const struct action_table *actions, const char *path);

/* The path and query that the robot is asked for: the session's current id is the first pair. */
void pass_target(const struct pass *p, const char *session_id, struct buf *out);

#endif
