/* SPDX-License-Identifier: MIT */
/*
 * reply.c - the answers to requests: whole ones, and streams. Each answer ends its request.
 *
 * Must never answer a request twice. A streamed answer sends a chunk only when its receiver has granted credit.
 */
#include "dispatcher/wire/reply.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

/* Logs each failed or slow answer: job, robot, and where the time went. The rest of ms besides db_ms and robot_ms
 * was spent here, waiting for a slot, a migration or another log-in. */
static void answer_log(struct request *r, int status, const char *error)
{
    int64_t ms = (int64_t)(clock_us() - r->arrived_us) / 1000,
            own_ms = r->lane == LANE_LOGIN ? ms - r->robot_ms : ms;
    bool is_slow =
        own_ms + (int64_t)r->waited_ms >= r->d->conf->log_slow_ms && r->op != OP_JOB_AWAIT && !r->wait_ms;
    enum log_level level = status >= 500 ? LOG_WARN : is_slow ? LOG_INFO : LOG_DEBUG;
    if (log_is_on(level))
        log_line(level, is_slow ? "slow" : "answered", "request", r->request_id, "op", op_table[r->op].name,
                 "status", log_i(status), "error", error, "job", log_i((long long)r->job), "robot", r->robot, "ms",
                 log_i(ms), "queue_ms", log_i((long long)r->waited_ms), "db_ms", log_i(r->db_ms), "robot_ms",
                 log_i(r->robot_ms), NULL);
}

static void reply_send(struct dispatcher *d, struct request *r, struct msg *m)
{
    m->type = MSG_REPLY;
    m->REPLY.id = r->id;
    m->REPLY.replayed = r->replayed;
    if (peer_send(d, r->peer, m) != 0)
        log_line(LOG_WARN, "reply_not_sent", "request", r->request_id, NULL);
    request_free(d, r);
}

static void reply_body(struct dispatcher *d, struct request *r, int status, const char *body, size_t len)
{
    struct msg m = {.REPLY = {.status = (uint64_t)status}, .payload = {body, (uint32_t)len}};
    answer_log(r, status, "");
    reply_send(d, r, &m);
}

void reply_jv(struct dispatcher *d, struct request *r, int status, struct jv *body)
{
    size_t len;
    char *text = jv_dump(body, &len);
    jv_free(body);
    if (len <= REPLY_PAYLOAD_MAX) {
        reply_body(d, r, status, text, len);
        free(text);
        return;
    }
    struct buf whole = {text, len, len + 1};
    reply_take(d, r, status, "application/json", NULL, &whole);
}

void reply_error(struct dispatcher *d, struct request *r, enum err e, const char *message, struct jv *extra)
{
    size_t len = 0;
    char *text = extra ? jv_dump(extra, &len) : NULL;
    struct str told = str_cut(str_of(message && *message ? message : err_text(e)), 1000);
    struct msg m = {.REPLY = {.status = (uint64_t)err_http(e), .error = str_of(err_code(e)), .message = told},
                    .payload = {text ? text : "", (uint32_t)len}};
    jv_free(extra);
    answer_log(r, err_http(e), err_code(e));
    reply_send(d, r, &m);
    free(text);
}

void reply_ended(struct dispatcher *d, struct request *r, const struct session_row *row)
{
    struct jv *extra = jv_new_object();
    enum err e = row->state == SESSION_EXPIRED                                   ? ERR_SESSION_EXPIRED
                 : row->state == SESSION_CLOSED || row->state == SESSION_CLOSING ? ERR_SESSION_CLOSED
                                                                                 : ERR_SESSION_LOST;
    jv_set_str(extra, "state", session_state_name[row->state]);
    jv_set_time(extra, "since", row->since_ms);
    jv_set_str(extra, "reason", row->reason[0] ? row->reason : NULL);
    jv_set_str(extra, "successor_session_id", row->successor[0] ? row->successor : NULL);
    reply_error(d, r, e, NULL, extra);
}

void request_accepted(struct dispatcher *d, struct request *r, uint64_t job_id, const char *job_uid)
{
    struct msg m = {.type = MSG_ACCEPTED, .ACCEPTED = {.id = r->id, .job_id = job_id}};
    if (job_uid && strcmp(job_uid, r->job_uid) != 0)
        m.ACCEPTED.job_uid = str_of(job_uid);
    r->job = job_id;
    peer_send(d, r->peer, &m);
}

/* ---- streams ------------------------------------------------------------------------------------------------ */

void stream_begin(struct dispatcher *d, struct request *r, int status, const char *content_type, int64_t length,
                  const char *filename, const char *session_id,
                  void (*on_credit)(struct dispatcher *d, struct request *r))
{
    struct msg m = {.type = MSG_REPLY_HEAD,
                    .REPLY_HEAD = {.id = r->id,
                                   .status = (uint64_t)status,
                                   .content_type = str_of(content_type),
                                   .has_length = length >= 0,
                                   .length = length >= 0 ? (uint64_t)length : 0,
                                   .filename = str_of(filename),
                                   .attachment = filename != NULL,
                                   .session_id = str_of(session_id),
                                   .content_encoding = str_of(r->content_encoding)}};
    r->streaming = true;
    r->on_credit = on_credit;
    loop_timer_stop(d->loop, &r->expiry); /* the deadline ends at the first byte */
    stat_inc(streams_total);
    r->cut = peer_send(d, r->peer, &m) != 0;
}

unsigned stream_credit(const struct request *r)
{
    return r->chunk_limit > r->chunk_seq ? (unsigned)(r->chunk_limit - r->chunk_seq) : 0;
}

static int chunk_send(struct dispatcher *d, struct request *r, char *data, size_t len, bool last, bool broken)
{
    struct msg m = {.type = MSG_CHUNK,
                    .CHUNK = {.id = r->id, .seq = r->chunk_seq++, .last = last, .broken = broken},
                    .payload = {data ? data : "", (uint32_t)len}};
    return peer_send_take(d, r->peer, &m);
}

void stream_chunk(struct dispatcher *d, struct request *r, char *data, size_t len)
{
    stat_add(stream_bytes_total, len);
    if (chunk_send(d, r, data, len, false, false) != 0) {
        r->cut = true;
        free(data);
    }
}

/* The end of a stream needs no credit. */
void stream_end(struct dispatcher *d, struct request *r, bool broken)
{
    broken |= r->cut;
    if (broken)
        stat_inc(streams_broken_total);
    chunk_send(d, r, NULL, 0, !broken, broken);
    answer_log(r, broken ? 502 : 200, broken ? "stream_broken" : "");
    request_free(d, r);
}

/* A long answer, sent from memory in chunks. */
struct memory_stream {
    char *data;
    size_t len, at;
};

static void memory_free(struct dispatcher *d, struct request *r)
{
    struct memory_stream *ms = r->work;
    quota_return(&d->stream_memory, ms->len);
    free(ms->data);
    free(ms);
    r->work = NULL;
}

static void memory_more(struct dispatcher *d, struct request *r)
{
    struct memory_stream *ms = r->work;
    while (ms->at < ms->len && stream_credit(r) && !r->cut) {
        size_t n = ms->len - ms->at < r->chunk_bytes ? ms->len - ms->at : r->chunk_bytes;
        char *piece = xmalloc(n);
        memcpy(piece, ms->data + ms->at, n);
        ms->at += n;
        stream_chunk(d, r, piece, n);
    }
    if (ms->at == ms->len || r->cut) {
        memory_free(d, r);
        stream_end(d, r, false);
    }
}

void reply_take(struct dispatcher *d, struct request *r, int status, const char *content_type,
                const char *session_id, struct buf *body)
{
    size_t len;
    char *data = buf_take(body, &len);
    if (len <= REPLY_PAYLOAD_MAX) {
        struct msg m = {.type = MSG_REPLY,
                        .REPLY = {.id = r->id,
                                  .status = (uint64_t)status,
                                  .content_type = str_of(content_type),
                                  .session_id = str_of(session_id),
                                  .replayed = r->replayed,
                                  .content_encoding = str_of(r->content_encoding)},
                        .payload = {data, (uint32_t)len}};
        answer_log(r, status, "");
        if (peer_send_take(d, r->peer, &m) != 0 || !len)
            free(data);
        request_free(d, r);
        return;
    }
    if (d->stream_memory.lent + len >
        d->stream_memory.budget) { /* the streams in it are blocked by slow clients */
        free(data);
        reply_error(d, r, ERR_QUEUE_FULL, NULL, NULL);
        return;
    }
    struct memory_stream *ms = xcalloc(1, sizeof(*ms));
    d->stream_memory.lent += len;
    ms->data = data;
    ms->len = len;
    r->work = ms;
    r->on_cancel = memory_free;
    stream_begin(d, r, status, content_type, (int64_t)len, NULL, session_id, memory_more);
    memory_more(d, r);
}
