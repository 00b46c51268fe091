/* SPDX-License-Identifier: MIT */
/*
 * params.h - the permitted input of requests: queries, fields of bodies, single values. Errors are gathered as
 * {"field":["why", ...]}, the `errors` of a 422; NULL = no errors.
 */
#ifndef CHASQUI_PARAMS_H
#define CHASQUI_PARAMS_H

#include "common/action.h"
#include "common/jv.h"
#include "proto/proto.h"

#define QUERY_PAIRS_MAX 32
#define SESSION_ID_BYTES_MAX 100
#define FILE_TOKEN_BYTES_MAX 512

struct query {
    unsigned n;
    struct {
        char *name;
        struct str value; /* decoded, NUL-terminated */
    } pair[QUERY_PAIRS_MAX];
};

/* Reads a query's fields into the request. */
typedef void params_fn(const struct query *q, struct msg_REQUEST *r, struct jv **errors);

/* Adds one reason. `field` must be UTF-8 (one of our words, or cleaned). */
void errors_add(struct jv **errors, const char *field, const char *why);

/* As errors_add, for a name that a client wrote: it is cleaned, and cut at 64 bytes. */
void errors_add_named(struct jv **errors, const char *name, const char *why);

/* Parses a query (or NULL) in place: decodes %-escapes, '+' is a space. A name given twice is an error of that
 * name. */
void query_parse(struct query *q, char *text, struct jv **errors);
/* NULL when absent. Borrowed. */
const struct str *query_get(const struct query *q, const char *name);
/* Decodes %-escapes in place and returns the new length. The gate has checked that they are valid. */
size_t escapes_decode(char *text, size_t len, bool plus_is_space);

/* Reads a member that the queries of several lists share. Mistakes go into errors. */
void query_number(const struct query *q, const char *name, uint64_t min, uint64_t absent, uint64_t *out,
                  struct jv **errors);
void query_portal(const struct query *q, struct msg_REQUEST *r, struct jv **errors); /* required */
void query_worker(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void query_search(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void query_since(const struct query *q, struct msg_REQUEST *r, struct jv **errors); /* since_ms, or for_ms ago */
void query_until(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void query_page(const struct query *q, struct msg_REQUEST *r, struct jv **errors); /* cursor, limit */

/* Length of a byte order mark at the beginning of a text: 3, or 0 when there is none. */
size_t utf8_mark(const char *text, size_t len);

/* Single values. */
bool session_id_ok(struct str s);
extern const char why_session_id[]; /* the error text for a bad session id */
bool file_token_ok(struct str s);
bool worker_name_ok(struct str s);
bool portal_ok(struct str s);
bool error_ok(struct str s);                                  /* one of our codes, or a code of the same form */
bool robot_error_ok(struct str s);                            /* a robot's own code: any text of one line */
bool decimal_read(struct str s, uint64_t min, uint64_t *out); /* digits only, min..INT64_MAX */
bool deadline_read(const char *text, uint64_t *ms);           /* X-Deadline-Ms */
bool traceparent_ok(const char *text);                        /* W3C, 55 characters */
bool is_json_type(const char *content_type);                  /* application/json, UTF-8 */
bool is_ndjson_type(const char *content_type);                /* application/x-ndjson, ndjson or jsonl, UTF-8 */
bool idempotency_key_ok(struct str s);                        /* 1-255 printable ASCII */
/* http(s), at most 500 bytes, beginning with one of the comma list of prefixes `allow` (NULL = none). */
bool callback_url_ok(struct str url, const char *allow);

/* The preferences of Prefer headers (RFC 7240). The first occurrence of each preference counts. */
struct prefer {
    bool is_async, has_wait;
    bool is_bad; /* wait is not an integer of 0 to 120 */
    uint64_t wait_s;
};
void prefer_read(struct prefer *p, const char *value); /* once for each header */

/* Each reads its route's input into r; strings are borrowed from q or body. */
void params_list(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_download(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_active(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_ops_sessions(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_jobs(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_ops_jobs(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_items(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
/* The position in a list of items: cursor is the first index wanted. */
void params_results(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_batches(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_audit(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_history(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_errors(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_refused(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_reason(const struct jv *body, struct msg_REQUEST *r, struct jv **errors); /* body may be NULL */
/* *action = NULL when unknown. `params` stays in body. */
void params_execute(const struct jv *body, const struct action_table *actions, struct msg_REQUEST *r,
                    const struct action **action, struct jv **errors);

/* Reads the body's available_at: a time at most 366 days after `now_unix_ms`, or in the past. */
void params_available(const struct jv *body, int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors);
/* Reads a batch's fields except its items; `then` stays in body. Convert a query to a body first. */
void params_batch(const struct jv *body, const struct action_table *actions, const char *allow,
                  int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors);
struct jv *params_batch_query(const struct query *q);
/* The reason for pausing the queue, and until when. */
void params_drain(const struct jv *body, struct msg_REQUEST *r, struct jv **errors); /* body may be NULL */
void params_pause(const struct jv *body, int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors);
void params_priority(const struct jv *body, struct msg_REQUEST *r, struct jv **errors); /* required */
void params_scope(const struct jv *body, struct msg_REQUEST *r, struct jv **errors);    /* body may be NULL */
/* Which jobs, and what to do with them. A preview only counts. */
void params_bulk(const struct jv *body, struct msg_REQUEST *r, bool *is_preview, struct jv **errors);

#endif
