/* SPDX-License-Identifier: MIT */
/*
 * robot_http.h - calls to robots over HTTP. curl_multi_socket_action on our loop. http and https only; no
 * redirects, proxy, netrc, cookies, decoding or Expect. Connect, total and idle limits. Bodies are capped. The
 * resolved address is checked against robot.allow_addresses.
 */
#ifndef CHASQUI_ROBOT_HTTP_H
#define CHASQUI_ROBOT_HTTP_H

#include "common/buf.h"
#include "common/conf.h"
#include "common/loop.h"
#include <stdbool.h>
#include <stdint.h>

struct robot_http;
struct robot_call;

enum call_result {
    CALL_ANSWERED, /* a whole HTTP answer: status, body */
    CALL_NOT_SENT, /* refused, unresolvable, address not allowed, connect timeout: the robot received nothing */
    CALL_TIMEOUT,  /* sent, no (whole) answer in time */
    CALL_BROKEN,   /* sent, then reset, cut short, not HTTP or another request's answer: outcome unknown */
    CALL_TOO_BIG,  /* the body exceeded max_bytes; status is known */
    CALL_STOPPED   /* by call_stop() inside a callback */
};

struct call_answer { /* borrowed during `done` */
    enum call_result result;
    bool garbage; /* BROKEN because it was not HTTP, or was cut short: a bad response rather than unreachable */
    int status;   /* 0 = none */
    char content_type[201];                         /* "" = none */
    char content_encoding[61];                      /* "" = none, or decoded */
    char boot_id[65];                               /* X-Robot-Boot, "" = none */
    enum { ECHO_NONE, ECHO_OURS, ECHO_OTHER } echo; /* X-Request-Id: absent, ours among them, others only */
    int64_t length;                                 /* Content-Length, -1 = none */
    char disposition_name
        [513];        /* the file name of Content-Disposition (filename* preferred), decoded UTF-8, "" = none */
    struct buf *body; /* the data received; the callee may take its bytes */
    int64_t took_ms;
    bool is_work;          /* as call_spec.is_work, or a log-in */
    int64_t patience_ms;   /* after this long without an answer its robot is late */
    const char *curl_text; /* for our own log only */
    const char *why;       /* a word of common/curl_word.h, "" = answered */
};

struct call_spec {
    const char *method;
    const char *base_url; /* normalised, no trailing slash */
    const char *path;     /* begins with '/', already percent-encoded, may hold a query */
    const char *body;     /* NULL = none */
    size_t body_len;
    const char *body_type; /* NULL = application/json, "" = no header */
    /* Replaces base_url and path for a host that is not a robot. robot.allow_addresses does not apply, and the
     * call is not counted with the robots' calls. A POST only. NULL = a robot's URL. */
    const char *url;
    const char *const *headers; /* additional whole lines, the last one NULL; NULL = none */
    uint32_t robot_id;          /* the robot that the call counts for; 0 = none */
    bool is_login;
    bool is_work;    /* a caller waits for it, so it shows whether the robot works (unanswered.c) */
    bool is_fresh;   /* on a new connection, which may reach the other of two processes behind one URL */
    bool is_decoded; /* an unrequested Content-Encoding is decoded: for answers that are read here */
    const char *idempotency_key, *request_id, *traceparent; /* headers; NULL or "" = none */
    int64_t connect_ms, total_ms /* 0 = none, for downloads */, first_byte_ms /* 0 = none */,
        idle_ms /* 0 = none */;
    /* The robot's usual time for such a call, when this one's caller left it less; 0 = total_ms. */
    int64_t usual_ms;
    size_t max_bytes; /* cap of the buffered body; ignored with on_data */
    /* Streaming. on_head comes once before data when status is 200; return false to stop. For other statuses the
     * body is buffered instead. on_data receives bytes. It may return false = full; the call is then paused until
     * call_resume(). */
    size_t stream_bytes; /* maximum for one on_data; 0 = 128 KiB */
    bool is_any_status;  /* on_head is called for every status, and may return false */
    bool (*on_head)(void *arg, const struct call_answer *head);
    bool (*on_data)(void *arg, const char *data, size_t len); /* must consume all of data, whatever it returns */
    void (*done)(
        void *arg,
        struct call_answer *a); /* exactly once, never inside call_start/call_stop; the call is freed afterwards */
    void *arg;
};

struct robot_http *robot_http_new(struct loop *l, const struct conf *conf);
void robot_http_destroy(struct robot_http **hp); /* calls in flight end without `done` */
struct robot_call *call_start(struct robot_http *h, const struct call_spec *spec); /* strings are copied */
/* Called for every call to a robot that ends, before its `done`; also for stopped calls (CALL_STOPPED). */
typedef void call_watch_fn(void *arg, uint32_t robot_id, bool is_login, const struct call_answer *a);
void robot_http_watch(struct robot_http *h, call_watch_fn *fn, void *arg);
void call_resume(struct robot_call *c);
void call_stop(struct robot_call *c); /* aborts; done is NOT called; c is freed */
/* Calls fn for each call that a caller waits for and whose robot is late (patience_ms) with the first byte.
 * Log-ins are excluded, because they take long. */
void calls_overdue(const struct robot_http *h, void (*fn)(void *arg, uint32_t robot_id), void *arg);
unsigned calls_running(const struct robot_http *h);

#endif
