/* SPDX-License-Identifier: MIT */
/*
 * flight.c - requests in flight at a dispatcher, and requests queued for one.
 *
 * Owns: the lanes' queues, the table of flights by the id of their last sending, their deadlines. Must never send
 * a flight whose deadline has passed. Must never resend a flight that may have been executed: when its dispatcher
 * died, a log-in is awaited at another one, and the outcome of an action is unknown. An idempotent request (a
 * queued job by its uid, a batch by its key, lines by their index) is resent as often as needed, any other
 * question once. Every sending has a new id, so that a dispatcher that was given up and returns is not mistaken
 * for the current one.
 */
#include "broker/flight.h"
#include "broker/fairq.h"
#include "broker/peer.h"
#include "broker/stream.h"
#include "broker/tally.h"

#include "common/check.h"
#include <stddef.h>
#include <stdlib.h>

#define SILENCE_GRACE_MS 2000  /* for a stream, beyond the dispatcher's own limit */
#define DEADLINE_MAX_MS 600000 /* limit of the wire format */

struct flights {
    struct fairq *queue[LANE_COUNT];
    uint64_t n_of_lane[LANE_COUNT]; /* sent and not over */
    struct map by_id;               /* flights that were sent */
    uint64_t n_open, n_streams, last_id;
    bool is_pumping, is_pump_wanted;
};

struct flights *flights_new(struct broker *b)
{
    struct flights *fs = xcalloc(1, sizeof *fs);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        fs->queue[i] = fairq_new((uint64_t)b->conf->queue_max_depth);
    fs->last_id = id_random_u64() >> 16; /* ids after a restart of the broker differ from earlier ones */
    return fs;
}

void flights_destroy(struct flights **fp)
{
    struct flights *fs = *fp;
    if (!fs)
        return;
    *fp = NULL;
    for (unsigned i = 0; i < LANE_COUNT; i++)
        fairq_destroy(&fs->queue[i]);
    map_free(&fs->by_id);
    free(fs);
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static enum lane lane_of(const struct flight *f)
{
    return op_table[f->op_now].lane;
}

static void table_add(struct flights *fs, struct flight *f)
{
    fs->n_of_lane[lane_of(f)]++;
    map_add(&fs->by_id, &f->by_id, f->id);
}

static void table_remove(struct flights *fs, struct flight *f)
{
    map_remove(&fs->by_id, &f->by_id);
    fs->n_of_lane[lane_of(f)]--;
}

/* The lane that a client's request counts in, even when it is awaited in another lane. */
static struct lane_sum *sum_of(const struct flight *f)
{
    return tally_lane(f->b->tally, op_table[f->op].lane);
}

static void count_answer(const struct flight *f, uint64_t status)
{
    struct lane_sum *sum = sum_of(f);
    if (status < 500)
        sum->done++;
    else
        sum->failed++;
    hist_add(&sum->latency, (loop_now_ms(f->b->loop) - f->queued_at_ms) * 1000);
}

/* ---- states ------------------------------------------------------------------------------------------------- */

/* Removes f from its queue or from its dispatcher. */
static void flight_take_out(struct flight *f)
{
    struct flights *fs = f->b->flights;
    switch (f->state) {
    case FLIGHT_NONE:
        break;
    case FLIGHT_QUEUED:
        fairq_remove(fs->queue[lane_of(f)], &f->item);
        break;
    case FLIGHT_STREAMING:
        fs->n_streams--;
        if (f->stream)
            stream_detach(f->stream);
        f->stream = NULL;
        peer_drop(f);
        table_remove(fs, f);
        break;
    case FLIGHT_SENT:
        peer_drop(f);
        table_remove(fs, f);
        break;
    }
}

void flight_close(struct flight *f)
{
    if (f->state == FLIGHT_NONE)
        return;
    flight_take_out(f);
    loop_timer_stop(f->b->loop, &f->timer);
    quota_return(&f->b->stream_memory, f->lent);
    f->lent = 0;
    f->state = FLIGHT_NONE;
    f->over_at_ms = loop_now_ms(f->b->loop);
    f->b->flights->n_open--;
}

static uint64_t now_or_over(const struct flight *f)
{
    return f->over_at_ms ? f->over_at_ms : loop_now_ms(f->b->loop);
}

uint64_t flight_waited_ms(const struct flight *f)
{
    if (!f->queued_at_ms)
        return 0;
    return (f->sent_at_ms ? f->sent_at_ms : now_or_over(f)) - f->queued_at_ms;
}

uint64_t flight_worked_ms(const struct flight *f)
{
    return f->sent_at_ms ? now_or_over(f) - f->sent_at_ms : 0;
}

/* A log-in goes on: the robot may have opened its session. */
static bool cancel_send(struct flight *f)
{
    bool is_at_dispatcher = f->state == FLIGHT_SENT || f->state == FLIGHT_STREAMING;
    if (!is_at_dispatcher || f->op_now == OP_EXECUTE_LOGIN)
        return false;
    struct msg m = {.type = MSG_CANCEL, .CANCEL = {.id = f->id}};
    peer_send(f->b, f->peer, &m);
    return true;
}

void flight_end(struct flight *f)
{
    bool is_whole =
        f->stream && stream_is_whole(f->stream); /* a client may close before the final message arrives */
    if (!is_whole && cancel_send(f))
        stat_inc(cancels_total);
    flight_close(f);
}

static void flight_fail(struct flight *f, enum err e)
{
    if (f->state == FLIGHT_STREAMING) { /* its answer has begun, so it can only be cut */
        struct stream *s = f->stream;
        flight_close(f);
        if (s)
            stream_break(s);
        return;
    }
    flight_close(f);
    if (f->op == OP_EXECUTE_QUEUED && f->job_id && e == ERR_DEADLINE_EXCEEDED)
        sum_of(f)->done++; /* it is in the queue, and its client is informed of that */
    else
        sum_of(f)->failed++;
    f->user->failed(f->arg, e);
}

static void deadline_passed(void *arg)
{
    struct flight *f = arg;
    if (f->state == FLIGHT_STREAMING)
        stat_inc(streams_silent_total);
    else if (f->op != OP_EXECUTE_QUEUED || !f->job_id) /* a queued job is a valid answer */
        stat_inc(deadline_exceeded_total);
    cancel_send(f);
    flight_fail(f, ERR_DEADLINE_EXCEEDED);
}

/* A stream counts as silent only when its dispatcher is. When its client is slow, chunks wait here. */
static void silence_look(void *arg)
{
    struct flight *f = arg;
    if (f->stream && stream_is_hungry(f->stream))
        deadline_passed(f);
    else
        loop_timer_in(f->b->loop, &f->timer, (uint64_t)f->b->conf->timeout_download_idle_ms + SILENCE_GRACE_MS);
}

/* Whether the body may have any length: such a stream is lent memory at once. */
static bool is_stream(enum op op)
{
    return op == OP_BUZON_DOWNLOAD || op == OP_BATCH_RESULTS || op == OP_ROBOT_PASS;
}

void flight_start(struct broker *b, struct flight *f)
{
    struct flights *fs = b->flights;
    CHECK(f->state == FLIGHT_NONE, "op=%d state=%d", (int)f->op, (int)f->state);
    f->b = b;
    f->op_now = f->op;
    f->was_resent = false;
    f->job_id = 0;
    f->job_uid[0] = '\0';
    enum lane lane = lane_of(f);
    if (!peers_hopeful(b)) {
        tally_lane(b->tally, lane)->rejected++;
        f->user->failed(f->arg, ERR_NO_DISPATCHER);
        return;
    }
    unsigned cost = is_stream(f->op) ? FAIRQ_COST_MAX : 1;
    if (!fairq_push(fs->queue[lane], &f->item, f->fair_key, cost)) {
        tally_lane(b->tally, lane)->rejected++;
        stat_inc(queue_full_total);
        f->user->failed(f->arg, ERR_QUEUE_FULL);
        return;
    }
    fs->n_open++;
    tally_lane(b->tally, lane)->accepted++;
    f->state = FLIGHT_QUEUED;
    f->queued_at_ms = loop_now_ms(b->loop);
    f->sent_at_ms = f->over_at_ms = 0;
    f->timer.fn = deadline_passed;
    f->timer.arg = f;
    loop_timer_at(b->loop, &f->timer, f->deadline_at_ms);
    flights_pump(b);
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

/* A file is lent memory when it is sent. A list mostly comes whole, and is a stream only when it is long. */
static void memory_lend(struct flight *f)
{
    if (is_stream(f->op_now) && !f->lent)
        f->lent = quota_lend(&f->b->stream_memory, STREAM_BYTES_MIN, STREAM_BYTES_MAX);
    if (is_stream(f->op_now) && f->lent == STREAM_BYTES_MIN && !f->was_resent)
        stat_inc(streams_small_total);
    stream_shape(f->lent, &f->request.chunk_bytes, &f->request.chunk_window);
}

static void send_fields(struct flight *f, uint64_t now_ms)
{
    memory_lend(f);
    uint64_t left_ms = f->deadline_at_ms > now_ms ? f->deadline_at_ms - now_ms : 1;
    f->id = ++f->b->flights->last_id;
    f->request.id = f->id;
    f->request.op = f->op_now;
    f->request.lane = lane_of(f);
    f->request.waited_ms = now_ms - f->queued_at_ms < DEADLINE_MAX_MS ? now_ms - f->queued_at_ms : DEADLINE_MAX_MS;
    f->request.deadline_ms = left_ms < DEADLINE_MAX_MS ? left_ms : DEADLINE_MAX_MS;
}

/* Sends one flight from the lane's queue to a dispatcher. Returns false when there is no flight or no
 * dispatcher. */
static bool send_one(struct broker *b, enum lane lane)
{
    struct flights *fs = b->flights;
    if (!fairq_depth(fs->queue[lane]))
        return false;
    struct peer *p = peers_pick(b, lane);
    if (!p)
        return false;
    struct flight *f = (struct flight *)((char *)fairq_pop(fs->queue[lane]) - offsetof(struct flight, item));
    uint64_t now_ms = loop_now_ms(b->loop);
    if (f->deadline_at_ms <= now_ms) {
        deadline_passed(f);
        return true;
    }
    send_fields(f, now_ms);
    if (peer_request(b, p, f) != 0) {
        fairq_return(fs->queue[lane], &f->item);
        return true; /* p is not picked again: another dispatcher is tried, or none */
    }
    f->state = FLIGHT_SENT;
    f->sent_at_ms = now_ms;
    table_add(fs, f);
    peer_hold(p, f);
    if (!f->was_resent)
        hist_add(&sum_of(f)->wait, (now_ms - f->queued_at_ms) * 1000);
    return true;
}

void flights_pump(struct broker *b)
{
    struct flights *fs = b->flights;
    fs->is_pump_wanted = true;
    if (fs->is_pumping)
        return; /* re-entered through a callback: the loop below continues */
    fs->is_pumping = true;
    while (fs->is_pump_wanted) {
        fs->is_pump_wanted = false;
        for (enum lane lane = 0; lane < LANE_COUNT; lane++)
            while (send_one(b, lane))
                ;
    }
    fs->is_pumping = false;
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

static void take_reply(struct flight *f, const struct msg *m)
{
    flight_close(f);
    count_answer(f, m->REPLY.status);
    if (f->op_now == OP_JOB_AWAIT && f->op != OP_JOB_AWAIT && str_is(m->REPLY.error, err_code(ERR_JOB_NOT_FOUND)))
        f->user->failed(f->arg, ERR_NO_DISPATCHER); /* its dispatcher died before the job existed */
    else
        f->user->reply(f->arg, &m->REPLY, m->payload);
}

static void take_head(struct flight *f, const struct msg_REPLY_HEAD *m)
{
    if (f->state != FLIGHT_SENT || !f->user->head) {
        stat_inc(bus_malformed_total);
        flight_end(f);
        sum_of(f)->failed++;
        f->user->failed(f->arg, ERR_NO_DISPATCHER);
        return;
    }
    f->state = FLIGHT_STREAMING;
    count_answer(f, m->status);
    f->b->flights->n_streams++;
    stat_inc(streams_total);
    f->timer.fn = silence_look; /* the deadline ends at the first byte */
    loop_timer_in(f->b->loop, &f->timer, (uint64_t)f->b->conf->timeout_download_idle_ms + SILENCE_GRACE_MS);
    f->user->head(f->arg, m);
}

static void take_chunk(struct flight *f, const struct msg *m)
{
    if (f->state != FLIGHT_STREAMING || !f->stream) {
        stat_inc(bus_malformed_total);
        return;
    }
    struct stream *s = f->stream;
    loop_timer_in(f->b->loop, &f->timer, (uint64_t)f->b->conf->timeout_download_idle_ms + SILENCE_GRACE_MS);
    if (m->CHUNK.last || m->CHUNK.broken)
        flight_close(f);
    if (!stream_take(s, &m->CHUNK, m->payload)) {
        stat_inc(bus_malformed_total);
        flight_end(f);
    }
}

static uint64_t id_of(const struct msg *m)
{
    switch ((int)m->type) {
    case MSG_ACCEPTED:
        return m->ACCEPTED.id;
    case MSG_REPLY:
        return m->REPLY.id;
    case MSG_REPLY_HEAD:
        return m->REPLY_HEAD.id;
    default:
        return m->CHUNK.id;
    }
}

void flights_take(struct broker *b, struct peer *from, const struct msg *m)
{
    uint64_t id = id_of(m);
    struct flight *f = map_value(map_find(&b->flights->by_id, id), struct flight, by_id);
    if (!f || f->peer != from) {
        stat_inc(replies_late_total);
        if (m->type == MSG_REPLY_HEAD || (m->type == MSG_CHUNK && !m->CHUNK.last && !m->CHUNK.broken)) {
            struct msg cancel = {.type = MSG_CANCEL, .CANCEL = {.id = id}};
            peer_send(b, from, &cancel);
        }
        return;
    }
    switch ((int)m->type) {
    case MSG_ACCEPTED:
        f->job_id = m->ACCEPTED.job_id;
        str_copy(f->job_uid, sizeof f->job_uid, m->ACCEPTED.job_uid);
        break;
    case MSG_REPLY:
        if (f->state == FLIGHT_SENT)
            take_reply(f, m);
        else
            stat_inc(bus_malformed_total);
        break;
    case MSG_REPLY_HEAD:
        take_head(f, &m->REPLY_HEAD);
        break;
    default:
        take_chunk(f, m);
    }
}

/* ---- dispatchers that went ---------------------------------------------------------------------------------- */

/* Whether it is idempotent, and may be sent as often as needed. */
static bool is_patient(const struct flight *f)
{
    return f->op == OP_EXECUTE_LOGIN /* awaited */ || f->op == OP_EXECUTE_QUEUED || lane_of(f) == LANE_BATCH;
}

static void send_again(struct flight *f)
{
    struct flights *fs = f->b->flights;
    flight_take_out(f);
    f->was_resent = true;
    if (f->op == OP_EXECUTE_LOGIN) {
        f->op_now = OP_JOB_AWAIT;
        if (f->job_uid[0])
            f->request.job_uid = str_of(f->job_uid);
    }
    f->state = FLIGHT_QUEUED;
    fairq_return(fs->queue[lane_of(f)], &f->item);
    sum_of(f)->retried++;
    stat_inc(resends_total);
}

/* Its dispatcher is gone, and the extent of its work is unknown. One that only stood still has not read it yet,
 * and finds the CANCEL behind it. */
static void flight_orphaned(struct flight *f)
{
    if (!is_patient(f))
        cancel_send(f);
    if (f->state == FLIGHT_STREAMING)
        flight_fail(f, ERR_NO_DISPATCHER);
    else if (is_patient(f) || (op_table[f->op].repeatable && !f->was_resent))
        send_again(f);
    else
        flight_fail(f, op_table[f->op].repeatable ? ERR_NO_DISPATCHER : ERR_OUTCOME_UNKNOWN);
}

void flights_peer_gone(struct broker *b, const struct flight_list *of_peer)
{
    while (!LIST_EMPTY(of_peer))
        flight_orphaned(LIST_FIRST(of_peer));
    flights_pump(b);
}

void flights_none_there(struct broker *b)
{
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        for (struct fairq_item *it; (it = fairq_oldest(b->flights->queue[lane]));)
            flight_fail((struct flight *)((char *)it - offsetof(struct flight, item)), ERR_NO_DISPATCHER);
}

/* ---- for people --------------------------------------------------------------------------------------------- */

uint64_t flights_open(const struct broker *b)
{
    return b->flights->n_open;
}

uint64_t flights_queued(const struct broker *b)
{
    uint64_t n = 0;
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        n += fairq_depth(b->flights->queue[lane]);
    return n;
}

uint64_t flights_oldest_ms(const struct broker *b, enum lane lane)
{
    struct fairq_item *it = fairq_oldest(b->flights->queue[lane]);
    if (!it)
        return 0;
    return loop_now_ms(b->loop) - ((struct flight *)((char *)it - offsetof(struct flight, item)))->queued_at_ms;
}

uint64_t flights_depth(const struct broker *b, enum lane lane)
{
    return fairq_depth(b->flights->queue[lane]);
}

uint64_t flights_in_flight(const struct broker *b, enum lane lane)
{
    return b->flights->n_of_lane[lane];
}

void flights_stats(struct broker *b)
{
    stat_set(flights, b->flights->n_open);
    stat_set(streams_active, b->flights->n_streams);
}

static void lane_gauge(const struct broker *b, struct buf *out, enum stat_family_id f,
                       uint64_t (*value)(const struct broker *b, enum lane lane), double unit)
{
    stat_family(out, f);
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        stat_sample(out, f, (double)value(b, lane) * unit, &lane_name[lane]);
}

void flights_metrics(const struct broker *b, struct buf *out)
{
    lane_gauge(b, out, FAMILY_lane_depth, flights_depth, 1);
    lane_gauge(b, out, FAMILY_lane_oldest_age_seconds, flights_oldest_ms, 0.001);
    lane_gauge(b, out, FAMILY_lane_in_flight, flights_in_flight, 1);
}
