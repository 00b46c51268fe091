/* http.h - one HTTP request to a broker, with ctl.token. http.c is the only file of this program that includes
 * curl. */
#ifndef CHASQUI_CTL_HTTP_H
#define CHASQUI_CTL_HTTP_H

#include "common/buf.h"
#include "common/jv.h"

struct ctl;

/* Writes up to `room` bytes of a body; 0 = its end, -1 = it cannot be read: the request is broken off. */
typedef long http_body_fn(void *arg, char *out, size_t room);

/* A piece of an answer; false: break it off. */
typedef bool http_piece_fn(void *arg, const char *piece, size_t len);

struct http_request {
    const char *method; /* GET, POST or DELETE */
    const char *base_url;
    const char *path;     /* begins with '/', may hold a query */
    const char *json;     /* body of a POST; NULL = {} */
    http_body_fn *ndjson; /* instead: a body of lines, as long as it is */
    void *ndjson_arg;
    const char *idempotency_key; /* NULL = none */
    http_piece_fn *follow;       /* of a GET whose 200 does not end: is given it as it comes; NULL = a whole answer */
    void *follow_arg;
};

struct http_answer {
    int status;      /* 0 = nobody answered */
    bool replayed;   /* Idempotency-Replayed: true */
    struct jv *body; /* JSON; NULL when it is none */
    char url[600];   /* what was asked */
    char why[300];   /* status 0: curl's reason */
};
/* The caller frees answer->body. */
void http_ask(struct ctl *c, const struct http_request *request, struct http_answer *answer);
/* Adds `text` to a path or query, percent-encoded (RFC 3986). */
void http_escape(struct buf *out, const char *text);

#endif
