/* SPDX-License-Identifier: MIT */
/*
 * request.c - the requests in flight and their answers.
 *
 * Owns: the table of requests by our key and by the broker's id, and the chunk
 * credit of streamed answers. Must never answer a request twice, nor after its
 * broker is gone. The broker owns the deadline's 504; one second after a
 * deadline what is left of a request is dropped here.
 */
#include "dispatcher/bulkhead.h"
#include "dispatcher/pass.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096
#define AFTER_DEADLINE_MS 1000

struct requests {
    struct request *by_key[BUCKETS], *by_id[BUCKETS];
    uint64_t last_key;
    unsigned n;
};

static void (*const handlers[OP_COUNT])(struct dispatcher *d, struct request *r) = {
    [OP_TOKEN_VERIFY] = verify_start,
    [OP_JOB_GET] = job_start,
    [OP_JOB_AWAIT] = login_await,
    [OP_SESSION_ACTIVE] = control_start,
    [OP_SESSION_GET] = control_start,
    [OP_SESSION_CLOSE] = close_start,
    [OP_BUZON_LIST] = list_start,
    [OP_BUZON_DOWNLOAD] = download_start,
    [OP_EXECUTE_ACTION] = action_start,
    [OP_EXECUTE_LOGIN] = login_start,
    [OP_EXECUTE_QUEUED] = enqueue_start,
    [OP_OPS_SESSIONS] = control_start,
    [OP_OPS_WORKERS] = control_start,
    [OP_OPS_WORKER_WANT] = control_start,
    [OP_OPS_SESSION_CLOSE] = close_start,
    [OP_OPS_SESSION_MIGRATE] = migrate_start,
    [OP_OPS_DOCTOR] = doctor_start,
    [OP_OPS_SUMMARY] = summary_start,
    [OP_BATCH_OPEN] = batch_start,
    [OP_BATCH_BODY] = batch_start,
    [OP_BATCH_CLOSE] = batch_start,
    [OP_BATCH_GET] = batch_start,
    [OP_BATCH_ITEMS] = batch_start,
    [OP_BATCH_RESULTS] = results_start,
    [OP_OPS_BATCH_PRIORITY] = batch_start,
    [OP_BATCH_CANCEL] = batch_start,
    [OP_OPS_BATCHES] = batch_start,
    [OP_OPS_JOBS_COUNT] = bulk_start,
    [OP_OPS_JOBS_BULK] = bulk_start,
    [OP_JOBS] = job_start,
    [OP_JOB_CANCEL] = job_start,
    [OP_OPS_JOBS] = job_start,
    [OP_OPS_JOB_GET] = job_start,
    [OP_OPS_JOB_WHY] = job_start,
    [OP_OPS_COMPANY] = job_start,
    [OP_OPS_JOB_RETRY] = job_start,
    [OP_OPS_JOB_CANCEL] = job_start,
    [OP_OPS_AUDIT] = look_back_start,
    [OP_OPS_ERRORS] = look_back_start,
    [OP_OPS_WORKER_ADD] = worker_start,
    [OP_OPS_WORKER_SET] = worker_start,
    [OP_OPS_QUEUE] = queue_state_start,
    [OP_OPS_QUEUE_PAUSE] = queue_state_start,
    [OP_OPS_QUEUE_RESUME] = queue_state_start,
    [OP_SESSION_TOUCH] = control_start,
    [OP_CREDENTIALS_SET] = credentials_start,
    [OP_CREDENTIALS_REMOVE] = credentials_start,
    [OP_OPS_TOKENS] = tokens_start,
    [OP_OPS_TOKEN_CREATE] = tokens_start,
    [OP_OPS_TOKEN_REVOKE] = tokens_start,
    [OP_OPS_PORTALS] = queue_state_start,
    [OP_ROBOT_PASS] = download_start,
    [OP_OPS_REFUSED] = refused_start,
    [OP_OPS_REFUSED_LIFT] = refused_start,
    [OP_OPS_SCHEDULES] = schedules_start,
    [OP_OPS_SCHEDULE_SET] = schedules_start,
};

struct requests *requests_new(void)
{
    for (unsigned op = 0; op < OP_COUNT; op++)
        CHECK(handlers[op], "nobody handles %s", op_table[op].name);
    return xcalloc(1, sizeof(struct requests));
}

static unsigned id_bucket(unsigned peer, uint64_t id)
{
    return (unsigned)((id * 31 + peer) % BUCKETS);
}

struct request *request_find(struct dispatcher *d, uint64_t key)
{
    struct request *r = d->requests->by_key[key % BUCKETS];
    while (r && r->key != key)
        r = r->next_by_key;
    return r;
}

static struct request *find_by_id(struct dispatcher *d, unsigned peer, uint64_t id)
{
    struct request *r = d->requests->by_id[id_bucket(peer, id)];
    while (r && (r->id != id || r->peer != peer))
        r = r->next_by_id;
    return r;
}

/* What a company waited and used, by the requests that are work for it. */
static void request_tally(struct dispatcher *d, const struct request *r)
{
    uint64_t company_id = r->counted_company ? r->counted_company : r->company_id;
    if (r->lane != LANE_INTERACTIVE && r->lane != LANE_LOGIN)
        return;
    tally_waited(d, company_id, r->waited_ms);
    tally_used(d, company_id, (clock_us() - r->arrived_us) / 1000);
}

/* Takes it out of the table and gives its credit back. */
static void request_free(struct dispatcher *d, struct request *r)
{
    request_tally(d, r);
    struct request **at = &d->requests->by_key[r->key % BUCKETS];
    while (*at != r)
        at = &(*at)->next_by_key;
    *at = r->next_by_key;
    at = &d->requests->by_id[id_bucket(r->peer, r->id)];
    while (*at != r)
        at = &(*at)->next_by_id;
    *at = r->next_by_id;
    d->requests->n--;
    loop_timer_stop(d->loop, &r->expiry);
    bulkhead_leave(d, r);
    if (r->params) {
        explicit_bzero(r->params, r->params_len);
        free(r->params);
    }
    pass_free(r->pass);
    free(r->companies);
    free(r);
}

/* Nobody waits any more: the handler lets go, then the request goes. */
static void request_drop(struct dispatcher *d, struct request *r)
{
    if (r->on_cancel)
        r->on_cancel(d, r);
    request_free(d, r);
}

static void expired(void *arg)
{
    struct request *r = arg;
    request_drop(r->d, r);
}

static void copy_fields(struct request *r, const struct msg_REQUEST *m)
{
    r->token_id = m->token_id;
    r->all_companies = m->all_companies;
    r->page = m->page;
    r->company_id = m->company_id;
    r->job_id = m->job_id;
    r->cursor = m->cursor;
    r->limit = (unsigned)m->limit;
    r->priority = (uint8_t)m->priority;
    r->wait_ms = m->wait_ms;
    r->waited_ms = m->waited_ms;
    r->chunk_limit = m->chunk_window ? m->chunk_window : CHUNK_WINDOW;
    r->chunk_bytes = !m->chunk_bytes ? CHUNK_MAX : m->chunk_bytes < CHUNK_MIN ? CHUNK_MIN : m->chunk_bytes;
    r->available_at_ms = m->available_at_ms;
    r->until_ms = m->until_ms;
    r->since_ms = m->since_ms;
    r->for_ms = m->for_ms;
    r->batch_id = m->batch_id;
    r->index = m->index;
    r->force_new = m->force_new;
    r->remember = m->remember;
    r->closes = m->closes;
    r->one = m->one;
    str_copy(r->request_id, sizeof(r->request_id), m->request_id);
    str_copy(r->traceparent, sizeof(r->traceparent), m->traceparent);
    str_copy(r->peer_addr, sizeof(r->peer_addr), m->peer);
    str_copy(r->token_name, sizeof(r->token_name), m->token_name);
    str_copy(r->session_id, sizeof(r->session_id), m->session_id);
    str_copy(r->file_token, sizeof(r->file_token), m->file_token);
    str_copy(r->portal, sizeof(r->portal), m->portal);
    str_copy(r->action, sizeof(r->action), m->action);
    str_copy(r->job_uid, sizeof(r->job_uid), m->job_uid);
    str_copy(r->state, sizeof(r->state), m->state);
    str_copy(r->worker, sizeof(r->worker), m->worker);
    str_copy(r->reason, sizeof(r->reason), m->reason);
    str_copy(r->error, sizeof(r->error), m->error);
    str_copy(r->robot_error, sizeof(r->robot_error), m->robot_error);
    str_copy(r->idempotency_key, sizeof(r->idempotency_key), m->idempotency_key);
    str_copy(r->callback_url, sizeof(r->callback_url), m->callback_url);
    str_copy(r->search, sizeof(r->search), m->search);
    str_copy(r->actor, sizeof(r->actor), m->actor);
    str_copy(r->subject, sizeof(r->subject), m->subject);
    str_copy(r->name, sizeof(r->name), m->name);
    if (m->body_digest.len == sizeof(r->body_digest))
        memcpy(r->body_digest, m->body_digest.p, sizeof(r->body_digest));
    if (m->secret_hash.len == sizeof(r->secret_hash))
        memcpy(r->secret_hash, m->secret_hash.p, sizeof(r->secret_hash));
    if (m->companies.n) {
        r->companies = xmalloc(m->companies.n * sizeof(*r->companies));
        memcpy(r->companies, m->companies.v, m->companies.n * sizeof(*r->companies));
        r->n_companies = m->companies.n;
    }
}

static void take_count(enum lane lane)
{
    stat_inc(requests_total);
    switch (lane) {
    case LANE_CONTROL:
        stat_inc(requests_control_total);
        break;
    case LANE_INTERACTIVE:
        stat_inc(requests_interactive_total);
        break;
    case LANE_LOGIN:
        stat_inc(requests_login_total);
        break;
    case LANE_BATCH:
    case LANE_COUNT:
        break;
    }
}

/* Reads the database in the name of a token, as opposed to what a broker asks for itself and what waits for a job. */
static bool is_question(const struct request *r)
{
    return r->lane == LANE_CONTROL && r->op != OP_TOKEN_VERIFY && r->op != OP_JOB_AWAIT && r->op != OP_OPS_SUMMARY;
}

bool request_take(struct dispatcher *d, unsigned peer, const struct msg_REQUEST *m, struct str payload)
{
    if (find_by_id(d, peer, m->id)) /* a broker does not use an id again that is in flight */
        return false;
    struct request *r = xcalloc(1, sizeof(*r));
    struct requests *rs = d->requests;
    r->d = d;
    r->key = ++rs->last_key;
    r->id = m->id;
    r->peer = peer;
    r->op = (enum op)m->op;
    r->lane = (enum lane)m->lane;
    r->arrived_us = clock_us();
    r->deadline_at_ms = clock_ms() + m->deadline_ms;
    copy_fields(r, m);
    r->pass = r->op == OP_ROBOT_PASS ? pass_new(m) : NULL;
    if (payload.len) {
        r->params = xmalloc(payload.len + 1);
        memcpy(r->params, payload.p, payload.len);
        r->params[payload.len] = 0;
        r->params_len = payload.len;
    }
    r->next_by_key = rs->by_key[r->key % BUCKETS];
    rs->by_key[r->key % BUCKETS] = r;
    r->next_by_id = rs->by_id[id_bucket(peer, r->id)];
    rs->by_id[id_bucket(peer, r->id)] = r;
    rs->n++;
    r->expiry.fn = expired;
    r->expiry.arg = r;
    loop_timer_at(d->loop, &r->expiry, r->deadline_at_ms + AFTER_DEADLINE_MS);
    take_count(r->lane);
    if (!is_question(r) || bulkhead_database(d, r, r->token_id, handlers[r->op]))
        handlers[r->op](d, r);
    return true;
}

void request_cancel(struct dispatcher *d, unsigned peer, uint64_t id)
{
    struct request *r = find_by_id(d, peer, id);
    if (r)
        request_drop(d, r);
}

void requests_peer_gone(struct dispatcher *d, unsigned peer)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct request *r = d->requests->by_key[i], *next; r; r = next) {
            next = r->next_by_key;
            if (r->peer == peer)
                request_drop(d, r);
        }
}

void requests_destroy(struct requests **rp)
{
    struct requests *rs = *rp;
    for (unsigned i = 0; rs && i < BUCKETS; i++)
        for (struct request *r = rs->by_key[i], *next; r; r = next) {
            next = r->next_by_key;
            free(r->params);
            pass_free(r->pass);
            free(r->companies);
            free(r);
        }
    free(rs);
    *rp = NULL;
}

void requests_each(struct dispatcher *d, enum op op, void (*fn)(struct dispatcher *d, struct request *r, void *arg), void *arg)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct request *r = d->requests->by_key[i], *next; r; r = next) {
            next = r->next_by_key;
            if (r->op == op)
                fn(d, r, arg);
        }
}

bool request_may_see(const struct request *r, uint64_t company_id)
{
    if (r->all_companies)
        return true;
    for (unsigned i = 0; i < r->n_companies; i++)
        if (r->companies[i] == company_id)
            return true;
    return false;
}

void request_actor(const struct request *r, struct actor *out)
{
    char name[sizeof(r->token_name) + 30];
    snprintf(name, sizeof(name), "token:%llu:%s", (unsigned long long)r->token_id, r->token_name);
    text_clean(out->name, sizeof(out->name), name, strlen(name), ACTOR_MAX);
    strcpy(out->peer, r->peer_addr);
    strcpy(out->request_id, r->request_id);
    strcpy(out->why, r->reason);
}

int64_t request_left_ms(const struct dispatcher *d, const struct request *r)
{
    (void)d;
    return (int64_t)(r->deadline_at_ms - clock_ms());
}

unsigned requests_in_flight(const struct dispatcher *d)
{
    return d->requests->n;
}

/* ---- answers --------------------------------------------------------------------------------------------------------- */

/* A line for each that failed or was slow: which job and robot, where the time went. What is left of ms beside db_ms and
 * robot_ms was spent here: waiting for a place, a migration, another log-in. */
static void answer_log(struct request *r, int status, const char *error)
{
    int64_t ms = (int64_t)(clock_us() - r->arrived_us) / 1000, own_ms = r->lane == LANE_LOGIN ? ms - r->robot_ms : ms;
    bool is_slow = own_ms + (int64_t)r->waited_ms >= r->d->conf->log_slow_ms && r->op != OP_JOB_AWAIT && !r->wait_ms;
    enum log_level level = status >= 500 ? LOG_WARN : is_slow ? LOG_INFO : LOG_DEBUG;
    if (log_is_on(level))
        log_line(level, is_slow ? "slow" : "answered", "request", r->request_id, "op", op_table[r->op].name, "status", log_i(status), "error",
                 error, "job", log_i((long long)r->job), "robot", r->robot, "ms", log_i(ms), "queue_ms", log_i((long long)r->waited_ms), "db_ms",
                 log_i(r->db_ms), "robot_ms", log_i(r->robot_ms), NULL);
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
    enum err e = row->state == SESSION_EXPIRED  ? ERR_SESSION_EXPIRED
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

/* ---- streams --------------------------------------------------------------------------------------------------------- */

void request_credit(struct dispatcher *d, unsigned peer, uint64_t id, uint64_t limit)
{
    struct request *r = find_by_id(d, peer, id);
    if (!r || !r->streaming || limit <= r->chunk_limit)
        return;
    r->chunk_limit = limit;
    if (r->on_credit)
        r->on_credit(d, r);
}

void stream_begin(struct dispatcher *d, struct request *r, int status, const char *content_type, int64_t length,
                  const char *filename, const char *session_id, void (*on_credit)(struct dispatcher *d, struct request *r))
{
    struct msg m = {.type = MSG_REPLY_HEAD,
                    .REPLY_HEAD = {.id = r->id, .status = (uint64_t)status, .content_type = str_of(content_type),
                                   .has_length = length >= 0, .length = length >= 0 ? (uint64_t)length : 0,
                                   .filename = str_of(filename), .attachment = filename != NULL, .session_id = str_of(session_id),
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

/* The end needs no credit. */
void stream_end(struct dispatcher *d, struct request *r, bool broken)
{
    broken |= r->cut;
    if (broken)
        stat_inc(streams_broken_total);
    chunk_send(d, r, NULL, 0, !broken, broken);
    answer_log(r, broken ? 502 : 200, broken ? "stream_broken" : "");
    request_free(d, r);
}

/* A long answer from memory, as chunks. */
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

void reply_take(struct dispatcher *d, struct request *r, int status, const char *content_type, const char *session_id,
                struct buf *body)
{
    size_t len;
    char *data = buf_take(body, &len);
    if (len <= REPLY_PAYLOAD_MAX) {
        struct msg m = {.type = MSG_REPLY,
                        .REPLY = {.id = r->id, .status = (uint64_t)status, .content_type = str_of(content_type),
                                  .session_id = str_of(session_id), .replayed = r->replayed, .content_encoding = str_of(r->content_encoding)},
                        .payload = {data, (uint32_t)len}};
        answer_log(r, status, "");
        if (peer_send_take(d, r->peer, &m) != 0 || !len)
            free(data);
        request_free(d, r);
        return;
    }
    if (d->stream_memory.lent + len > d->stream_memory.budget) { /* those before it are held back by their clients */
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
