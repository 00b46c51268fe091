/* SPDX-License-Identifier: MIT */
/* broker.h - asking a broker: what it refuses is said, and lists are read page by page. */
#ifndef CHASQUI_CTL_BROKER_H
#define CHASQUI_CTL_BROKER_H

#include "ctl/ctl.h"
#include "ctl/http.h"
#include "ctl/table.h"

enum door { DOOR_APP, DOOR_OPS };

/* true: a 2xx with a JSON object; else it was said what is wrong, and answer->body is NULL. Fills in the base URL.
 */
bool broker_ask(struct ctl *c, enum door door, struct http_request *request, struct http_answer *answer);
/* The body of a GET, NULL when it was refused; the caller frees it. */
struct jv *broker_get(struct ctl *c, enum door door, const char *path);
/* Likewise of a POST; takes `body`, NULL = {}. */
struct jv *broker_post(struct ctl *c, enum door door, const char *path, struct jv *body);
/* For people's lists: what a robot said in an attempt before is not said of a row that is done. */
void broker_done_quiet(const struct jv *rows);
/* {"reason":…} of --reason, {} without it; NULL after saying what it must be. The caller frees it. */
struct jv *broker_reason(struct ctl *c);
/* Says what a broker answered instead of 2xx, or that none did. */
enum ctl_exit broker_refused(struct ctl *c, enum door door, const struct http_answer *answer);
bool broker_is_good(const struct http_answer *answer);

/* --limit, or its default, which with --csv is all; false after saying what it must be. */
bool broker_limit(struct ctl *c, uint64_t *out);
/* Up to `limit` members of `list` ("jobs") at `path`; `query` is empty or begins with '&'. NULL when it was
 * refused. *more = there are others. */
struct jv *broker_list(struct ctl *c, enum door door, const char *path, const char *query, const char *list,
                       uint64_t limit, bool *more);
/* The same page by page, for lists that may be longer than memory: `fn` is given each page's rows, also when there are none. false when
 * one was refused. */
typedef void broker_page_fn(void *arg, const struct jv *rows);
bool broker_pages(struct ctl *c, enum door door, const char *path, const char *query, const char *list,
                  uint64_t limit, broker_page_fn *fn, void *arg, bool *more);
/* Nothing was found of a batch: is there such a batch? false after saying that there is none. */
bool broker_has_batch(struct ctl *c, uint64_t batch_id);
/* "&name=value" when the option was given. */
void broker_query_add(struct ctl *c, struct buf *query, enum option_id id, const char *name);
/* "&since=…" of --since: a time as it is, or how many seconds ago. false after saying what it must be. */
bool broker_since_add(struct ctl *c, struct buf *query);
bool broker_until_add(struct ctl *c, struct buf *query); /* --until; false after saying what it must be */

/* A member as text: a string, a number, NULL for null; times (..._at) without fraction. `room` holds what is not in the object. */
#define TEXT_ROOM 32
const char *broker_text(const struct jv *object, const char *key, char room[TEXT_ROOM]);
/* {detail, why?, error?, until?}, as waits_for and a job's why have it: "detail (why or error) Until until." NULL when it tells none. */
const char *broker_why(const struct jv *one, char *out, size_t room);
/* A member as a table's next cell; times as 2026-01-31 06:00, UTC as the head says. */
void broker_cell(struct table *table, const struct jv *object, const char *key);

#endif
