/* SPDX-License-Identifier: MIT */
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
    http_piece_fn *follow; /* of a GET whose 200 does not end: is given it as it comes; NULL = a whole answer */
    void *follow_arg;
    long total_ms; /* how long it may take; 0 = longer than a broker lets it */
};

struct http_answer {
    int status;      /* 0 = no answer */
    bool replayed;   /* Idempotency-Replayed: true */
    struct jv *body; /* JSON; NULL when it is none */
    char url[600];   /* what was asked */
    char why[300];   /* status 0: curl's reason */
};
/* The caller frees answer->body. */
void http_ask(struct ctl *c, const struct http_request *request, struct http_answer *answer);

/* One call to a robot, as `worker test` makes it: without our token, and with what its head says. */
struct http_call {
    const char *method, *path;                /* the path may hold a query */
    const char *json;                         /* body of a POST; NULL = none */
    const char *idempotency_key, *request_id; /* NULL = none */
    long timeout_ms;
    int status; /* 0 = no answer */
    char type[80], boot[80],
        echoed[140]; /* Content-Type without parameters, X-Robot-Boot, X-Request-Id; "" = none */
    struct buf body; /* the caller frees it */
    long ms;
    bool is_reused; /* it went over a connection that was there */
    char why[200];  /* status 0: curl's reason */
};
/* What is asked again and again while a call runs, and how that went. */
struct http_busy {
    const char *path;
    long timeout_ms;
    int every_ms;
    unsigned n, n_failed; /* calls that were answered 200, and others */
    long slowest_ms;
};
struct http_line; /* a base URL with its kept connection */
struct http_line *http_line_new(const char *base_url);
void http_line_free(struct http_line **lp);
void http_line_call(struct http_line *line, struct http_call *call);
/* The same, and GETs busy->path over `beside` while it runs. */
void http_line_call_busy(struct http_line *line, struct http_call *call, struct http_line *beside,
                         struct http_busy *busy);

/* Adds `text` to a path or query, percent-encoded (RFC 3986). */
void http_escape(struct buf *out, const char *text);

#endif
