/*
 * params.h - what requests may say: queries, the fields of bodies, single
 * values. What is wrong is gathered as {"field":["why", ...]}, the `errors` of a
 * 422; NULL = nothing is wrong.
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

/* Adds one reason. `field` must be UTF-8 (an own word, or cleaned). */
void errors_add(struct jv **errors, const char *field, const char *why);

/* Takes a query (or NULL) apart in place: %-escapes, '+' is a space. A name given twice is an error of that name.
 */
void query_parse(struct query *q, char *text, struct jv **errors);
/* NULL when absent. Borrowed. */
const struct str *query_get(const struct query *q, const char *name);
/* Decodes %-escapes in place and returns the new length; the gate saw to it that they are good. */
size_t escapes_decode(char *text, size_t len, bool plus_is_space);

/* Single values. */
bool session_id_ok(struct str s);
bool file_token_ok(struct str s);
bool worker_name_ok(struct str s);
bool decimal_read(struct str s, uint64_t min, uint64_t *out); /* digits only, min..INT64_MAX */
bool deadline_read(const char *text, uint64_t *ms);           /* X-Deadline-Ms */
bool traceparent_ok(const char *text);                        /* W3C, 55 characters */
bool is_json_type(const char *content_type);                  /* application/json, UTF-8 */
bool prefers(const char *prefer, const char *word);           /* does a Prefer header name it? (RFC 7240) */

/* Each reads what its route takes into r; strings are borrowed from q or body. */
void params_list(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_download(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_active(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_ops_sessions(const struct query *q, struct msg_REQUEST *r, struct jv **errors);
void params_reason(const struct jv *body, struct msg_REQUEST *r, struct jv **errors); /* body may be NULL */
/* *action = NULL when it is not known. `params` stays in body. */
void params_execute(const struct jv *body, const struct action_table *actions, struct msg_REQUEST *r,
                    const struct action **action, struct jv **errors);

#endif
