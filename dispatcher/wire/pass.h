/* SPDX-License-Identifier: MIT */
/*
 * pass.h - a request passed on to a session's robot as its client wrote it: the paths (robot.pass), and the fields
 * of its head that are passed on.
 */
#ifndef CHASQUI_PASS_H
#define CHASQUI_PASS_H

#include "common/action.h"
#include "common/buf.h"
#include "proto/proto.h"

#include <stdbool.h>

struct pass { /* owned texts; "" = none */
    char *method, *path, *query, *content_type;
    char *header[3]; /* whole lines, the last one NULL */
};

/* Makes a pass from a REQUEST of ROBOT_PASS. NULL when it holds bytes that are invalid in a head. Free with
 * pass_free(). */
struct pass *pass_new(const struct msg_REQUEST *m);
void pass_free(struct pass *p); /* NULL is allowed */

/* Whether this path (the part after /api/v1/app/robot/) may be requested. It must begin with one of the comma
 * list's paths, ending where a segment ends. Never allowed: dot segments, backslashes, empty segments, and encoded
 * slashes, however often encoded; paths that open, end or list sessions, which only Chasqui does. */
bool pass_path_ok(const char *comma_list, const struct action_table *actions, const char *path);

/* Writes the path and query for the robot. The first pair is the session's current id. */
void pass_target(const struct pass *p, const char *session_id, struct buf *out);

#endif
