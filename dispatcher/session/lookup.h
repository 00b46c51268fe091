/* SPDX-License-Identifier: MIT */
/* lookup.h - from a session id to the session and its robot. */
#ifndef CHASQUI_DISPATCHER_LOOKUP_H
#define CHASQUI_DISPATCHER_LOOKUP_H

#include "dispatcher/dispatcher.h"

/* Resolves the session of a call. Laravel's session is adopted; a migrating session is waited for. */
enum resolve {
    RESOLVE_OK,
    RESOLVE_NOT_FOUND,
    RESOLVE_ENDED,
    RESOLVE_MIGRATING,
    RESOLVE_ROBOT_UNKNOWN,
    RESOLVE_DOWN,
    RESOLVE_SILENT /* its robot does not answer at present; the session is kept */
};
/* `row` is valid during the call. RESOLVE_OK: row->base_url's robot is registered (row->robot_id) and the
 * request's token may see the company. Another company's session is NOT_FOUND. RESOLVE_MIGRATING comes only at the
 * request's deadline; until then the request waits, and the migration is made urgent. The same holds for a close
 * of a session that is being closed: it waits for the outcome of that close. Requests that call no robot do not
 * wait: they get RESOLVE_OK with a row that is migrating or whose robot is down. A close may also get a row whose
 * robot is no longer registered (robot_id 0). */
typedef void resolve_fn(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row);
struct lookups *lookups_new(struct dispatcher *d);
void lookups_destroy(struct lookups **lp);
void resolve_session(struct dispatcher *d, struct request *r, const char *session_id, resolve_fn *fn);
/* A session migrated, or was lost: look-ups that wait for one look again at once. */
void lookups_wake(struct dispatcher *d);
/* Replies for every result except RESOLVE_OK. */
void resolve_reply(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row);

#endif
