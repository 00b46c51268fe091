/* SPDX-License-Identifier: MIT */
/*
 * download.c - streams a file from the session's robot to the broker. Also streams other answers of a robot to a
 * request that is passed on to it (pass.h).
 *
 * Owns: the chunk being filled. Never holds more than one chunk: without credit the robot's transfer is paused, so
 * a slow client slows the robot down (back-pressure). The size of a chunk is the broker's request, or less when
 * many transfers share dispatcher.stream_memory_bytes. A broken transfer is cut and never ends as complete. The
 * robot's time limits count only the robot's time: they stand still while we pause it.
 */
#include "dispatcher/session/download.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/wire/pass.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSAL_BYTES 65536
#define HELD_CHUNKS 2 /* the one being filled, and as much in curl: half being read, half paused */
#define KEEP_MS 500   /* reserved from the deadline for the way back */

struct download {
    struct dispatcher *d;
    uint64_t key;
    struct robot_call *call;
    struct session_row row;
    struct loop_timer flush; /* data gathered in a turn of the loop is sent after it */
    char *chunk;             /* chunk_bytes, NULL = none yet */
    size_t len, chunk_bytes;
    uint64_t lent; /* lent from the memory that streams share */
    bool is_begun;
    int64_t length; /* as announced; -1 = not announced */
    uint64_t sent;
};

static void download_end(struct download *w, struct request *r)
{
    loop_timer_stop(w->d->loop, &w->flush);
    quota_return(&w->d->stream_memory, w->lent);
    activity_drop(w->d, w->row.ref);
    r->work = NULL;
    r->on_cancel = NULL;
    r->on_credit = NULL;
    free(w->chunk);
    free(w);
}

static void download_cancelled(struct dispatcher *d, struct request *r)
{
    struct download *w = r->work;
    (void)d;
    if (w->call)
        call_stop(w->call);
    download_end(w, r);
}

static void chunk_out(struct download *w, struct request *r)
{
    if (!w->len)
        return;
    char *data = w->len < w->chunk_bytes ? xrealloc(w->chunk, w->len) : w->chunk;
    w->chunk = NULL;
    w->sent += w->len;
    stream_chunk(w->d, r, data, w->len);
    w->len = 0;
}

static void flush_due(void *arg)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    CHECK(r, "a download without its request");
    if (stream_credit(r))
        chunk_out(w, r);
}

/* The transfer is over and the rest may be sent. */
static void download_finish(struct download *w, struct request *r, bool is_broken)
{
    struct dispatcher *d = w->d;
    if (stream_credit(r))
        chunk_out(w, r);
    is_broken |= w->length >= 0 && (uint64_t)w->length != w->sent;
    download_end(w, r);
    stream_end(d, r, is_broken);
}

static void credit_came(struct dispatcher *d, struct request *r)
{
    struct download *w = r->work;
    (void)d;
    if (!w->call) {
        download_finish(w, r, false);
        return;
    }
    if (stream_credit(r))
        chunk_out(w, r);
    if (stream_credit(r))
        call_resume(w->call); /* may deliver data; w is gone if that could not be sent on */
}

/* The session's id, if it differs from the one requested; else NULL. */
static const char *session_now(const struct download *w, const struct request *r)
{
    return strcmp(w->row.session_id, r->session_id) == 0 ? NULL : w->row.session_id;
}

/* Whether an answer with that status goes to the client. Otherwise it is a refusal, whose body is read. */
static bool is_for_client(const struct request *r, int status)
{
    return r->pass ? (status >= 200 && status < 300) || (status >= 400 && status < 500) : status == 200;
}

static bool head_came(void *arg, const struct call_answer *a)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    CHECK(r, "a download without its request");
    if (!is_for_client(r, a->status))
        return false;
    w->is_begun = true;
    w->length = a->length;
    robots_boot_seen(w->d, w->row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    strcpy(r->content_encoding, a->content_encoding);
    const char *name = a->disposition_name[0] ? a->disposition_name : r->pass ? NULL : "download";
    stream_begin(w->d, r, a->status, answer_type(a), a->length, name, session_now(w, r), credit_came);
    return true;
}

/* Gathers until a chunk is full. Returns whether more data may come: half a chunk is always room for one piece. */
static bool data_came(void *arg, const char *data, size_t len)
{
    struct download *w = arg;
    struct request *r = request_find(w->d, w->key);
    CHECK(r && len <= w->chunk_bytes / 2, "len=%zu", len);
    if (w->len + len > w->chunk_bytes)
        chunk_out(w, r); /* credit is available, else the transfer would be paused */
    if (!w->chunk)
        w->chunk = xmalloc(w->chunk_bytes);
    memcpy(w->chunk + w->len, data, len);
    w->len += len;
    /* The broker's connection accepts no more. Its loss will be noticed; the robot's transfer ends now. */
    if (r->cut) {
        call_stop(w->call);
        download_end(w, r);
        stream_end(r->d, r, true);
        return true;
    }
    if (!loop_timer_is_set(&w->flush))
        loop_timer_in(w->d->loop, &w->flush, 0);
    return stream_credit(r) > 0 || w->len <= w->chunk_bytes / 2;
}

static void refused(struct dispatcher *d, struct request *r, const struct call_answer *a, enum err failure)
{
    if (failure)
        reply_error(d, r, failure, answer_message(a), NULL);
    else if (a->status == 404 && !r->pass)
        reply_error(d, r, ERR_FILE_NOT_FOUND, NULL, NULL);
    else if (a->status >= 300)
        answer_refuse(d, r, a);
    else
        reply_error(d, r, ERR_ROBOT_BAD_RESPONSE, NULL, NULL);
}

static void download_answered(void *arg, struct call_answer *a)
{
    struct download *w = arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    const struct robot *robot = robot_by_id(d, w->row.robot_id);
    CHECK(r, "a download without its request");
    enum err failure = answer_failure(a);
    if (failure)
        answer_note(r, robot, r->pass ? "pass" : "download", a);
    r->robot_ms += a->took_ms;
    robots_boot_seen(d, w->row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    if (r->pass && is_for_client(r, a->status) && !failure &&
        !w->is_begun) { /* only a head, which may be a 204's */
        struct buf none = {0};
        char now[SESSION_ID_ROOM];
        snprintf(now, sizeof(now), "%s", session_now(w, r) ? w->row.session_id : "");
        download_end(w, r);
        reply_take(d, r, a->status, answer_type(a), *now ? now : NULL, &none);
        return;
    }
    if (a->status == 200 && !failure && !w->is_begun) /* an empty file has a head but no data */
        head_came(w, a);
    if (!w->is_begun) {
        download_end(w, r);
        refused(d, r, a, failure);
        return;
    }
    w->call = NULL;
    loop_timer_stop(d->loop, &w->flush);
    if (failure || !w->len || stream_credit(r))
        download_finish(w, r, failure != ERR_OK);
    /* else the file's last bytes wait here for credit */
}

static void download_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                              const struct session_row *row)
{
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    int64_t left = request_left_ms(d, r) - KEEP_MS, first = d->conf->timeout_download_first_byte_ms;
    if (left <= 0) {
        reply_error(d, r, ERR_DEADLINE_EXCEEDED, NULL, NULL);
        return;
    }
    if (!bulkhead_call(d, r, row->robot_id, row->company_id, download_start))
        return;
    struct download *w = xcalloc(1, sizeof(*w));
    struct buf path = {0};
    w->d = d;
    w->key = r->key;
    w->row = *row;
    w->lent = quota_lend(&d->stream_memory, HELD_CHUNKS * CHUNK_MIN, HELD_CHUNKS * r->chunk_bytes);
    w->chunk_bytes = w->lent / HELD_CHUNKS;
    w->length = -1;
    w->flush.fn = flush_due;
    w->flush.arg = w;
    if (r->pass) {
        pass_target(r->pass, row->session_id, &path);
    } else {
        buf_adds(&path, "/files/");
        url_encode(&path, r->file_token);
        buf_adds(&path, "?session_id=");
        url_encode(&path, row->session_id);
    }
    struct call_spec spec = {.method = r->pass ? r->pass->method : "GET",
                             .base_url = robot_by_id(d, row->robot_id)->base_url,
                             .robot_id = row->robot_id,
                             .is_work = true,
                             .path = path.data,
                             .body = r->pass ? r->params : NULL,
                             .body_len = r->pass ? r->params_len : 0,
                             .body_type = r->pass ? r->pass->content_type : NULL,
                             .headers = r->pass ? (const char *const *)r->pass->header : NULL,
                             .idempotency_key = r->pass ? r->idempotency_key : NULL,
                             .is_any_status = r->pass,
                             .request_id = r->request_id,
                             .traceparent = r->traceparent,
                             .connect_ms = d->conf->timeout_connect_ms,
                             .first_byte_ms = first < left ? first : left,
                             .idle_ms = d->conf->timeout_download_idle_ms,
                             .usual_ms = d->conf->timeout_download_first_byte_ms - 2 * KEEP_MS,
                             .max_bytes = REFUSAL_BYTES,
                             .stream_bytes = w->chunk_bytes / 2,
                             .on_head = head_came,
                             .on_data = data_came,
                             .done = download_answered,
                             .arg = w};
    activity_hold(d, row->ref);
    r->work = w;
    r->on_cancel = download_cancelled;
    w->call = call_start(d->robot_http, &spec);
    buf_free(&path);
}

void download_start(struct dispatcher *d, struct request *r)
{
    if (r->op == OP_ROBOT_PASS &&
        (!r->pass || !pass_path_ok(d->conf->robot_pass, &d->conf->actions, r->pass->path))) {
        reply_error(d, r, ERR_NOT_FOUND, NULL, NULL);
        return;
    }
    resolve_session(d, r, r->session_id, download_resolved);
}
