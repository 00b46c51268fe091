/* SPDX-License-Identifier: MIT */
/*
 * batch.c - uploads: turns the items of a body into a batch.
 *
 * Owns: each upload from its first line to its last acknowledgement. An upload holds the chunk of whole lines that
 * is being filled, up to BODIES_MAX chunks in flight, and the first rejected items. The batch is opened at the
 * first item. Its lines are sent on as BATCH_BODY, keyed by the index of their first line. It is closed when the
 * body is complete and fully acknowledged. Dispatchers may die meanwhile, because each of these requests is
 * idempotent.
 *
 * Must never pass on half a line, and must never take more than can be sent: while BODIES_MAX chunks are in
 * flight, the connection is not read (back-pressure). A truncated body leaves its whole lines recorded and the
 * batch open. Dispatchers judge the content of a line; only its length is judged here.
 *
 * A batch in one JSON body is judged as a whole before anything is opened, one slice a turn, so that other
 * requests do not wait. Its items then take the same path as lines.
 */
#include "broker/batch.h"
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/items.h"
#include "broker/params.h"
#include "broker/reply.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BODIES_MAX 4
#define BODY_BYTES_MAX CHUNK_MAX
#define LINE_BYTES_MAX (20 * 1024)
#define REJECTED_MAX 1000 /* rejected items that are named */
#define SLICE_US 2000     /* judging items, per turn */
#define UPLOADS_MAX 64 /* at once, at most half by one owner; each holds up to (BODIES_MAX + 1) * BODY_BYTES_MAX */

struct body { /* a chunk of lines in flight */
    struct upload *upload;
    struct flight flight; /* FLIGHT_NONE = free */
    char *lines;          /* owned, wiped */
    size_t len;
};

struct rejected {
    uint64_t index;
    struct jv *v; /* {index,error,errors} */
};

struct upload {
    struct broker *b;
    LIST_ENTRY(upload) of_all;
    struct exchange *x; /* NULL: its client has left; the upload finishes what it has */
    struct caller caller;
    bool is_held; /* inside a call; it is settled when the call ends */

    /* the batch's description */
    char portal[65], action[65], callback_url[501], key[256], name[401];
    bool closes;
    char *then; /* JSON of its steps; NULL = none; owned, wiped */
    size_t then_len;
    uint64_t priority, available_at_ms;
    uint8_t digest[32]; /* of all of the above, as the client wrote it */
    uint64_t step_ms;   /* time limit for a dispatcher's answer to each step */

    /* the body */
    struct judging judging;
    struct jv *about;        /* a JSON body without its items, until these are judged */
    struct loop_timer timer; /* the next slice of judging */
    struct buf lines;        /* the items of a JSON body as lines */
    size_t lines_at;         /* offset of the next one to pass on */
    bool is_whole;           /* the last item was seen */
    struct buf line;         /* a line whose end has not arrived; at most LINE_BYTES_MAX + 1 */
    bool is_long;            /* that line is too long, and is not kept */
    bool is_begun;           /* a line was seen: a byte order mark is no longer allowed */
    struct buf chunk;
    uint64_t chunk_index, next_index; /* of the chunk's first line; of the next line */
    bool is_sealed;                   /* the chunk is complete */

    /* the batch */
    struct flight flight; /* BATCH_OPEN, then BATCH_CLOSE */
    uint64_t batch_id;    /* 0 = not opened yet */
    bool is_replay;       /* it was closed before: its items are compared */
    bool is_closed;
    struct body body[BODIES_MAX];
    unsigned n_bodies; /* in flight */
    uint64_t accepted, rejected_total;
    struct rejected rejected[REJECTED_MAX]; /* sorted by index */
    unsigned n_rejected;

    /* the reason for its failure; ERR_OK = none */
    enum err error;
    char message[1001];
    struct jv *extra;
};

struct uploads {
    LIST_HEAD(upload_list, upload) list;
    unsigned n;
};

static void upload_free(struct upload *u);
static void upload_turn(struct upload *u);
static void upload_settle(struct upload *u);

/* ---- the beginning ------------------------------------------------------------------------------------------ */

/* Hashes the fields that a second upload under the same key must repeat. Times are hashed as written, because one
 * may have passed since. */
static void digest_make(struct upload *u, const struct jv *about)
{
    struct buf text = {0};
    const char *available_at = jv_str(jv_get(about, "available_at"));
    buf_addf(&text, "%s\n%s\n%" PRIu64 "\n%s\n%s\n", u->portal, u->action, u->priority, u->callback_url,
             available_at ? available_at : "");
    if (u->name[0] || u->closes || u->then)
        buf_addf(&text, "%s\n%d\n%s\n", u->name, u->closes, u->then ? u->then : "");
    id_sha256(text.data, text.len, u->digest);
    buf_free(&text);
}

static struct upload *upload_new(struct exchange *x)
{
    struct uploads *all = x->b->uploads;
    struct upload *u = xcalloc(1, sizeof *u);
    u->b = x->b;
    u->x = x;
    caller_take(&u->caller, x);
    u->step_ms = x->deadline_at_ms - x->arrived_ms;
    LIST_INSERT_HEAD(&all->list, u, of_all);
    all->n++;
    stat_inc(uploads_total);
    x->upload = u;
    return u;
}

/* The number of uploads in progress by the owner of this one, including it. */
static unsigned uploads_like(const struct upload *u)
{
    const struct upload *one;
    unsigned n = 0;
    LIST_FOREACH(one, &u->b->uploads->list, of_all)
        n += token_owner(one->caller.token) == token_owner(u->caller.token);
    return n;
}

/* Reads the batch's fields except its items. Returns false when x has been answered and u freed. */
static bool upload_describe(struct upload *u, const struct jv *about, struct jv *errors)
{
    struct exchange *x = u->x;
    struct msg_REQUEST r = {0};
    params_batch(about, &u->b->conf->actions, u->b->conf->webhook_allow, clock_unix_ms(), &r, &errors);
    struct str key = exchange_key(x, &errors);
    if (!exchange_fields(x, errors)) {
        upload_free(u);
        return false;
    }
    if (u->b->uploads->n > UPLOADS_MAX || uploads_like(u) > UPLOADS_MAX / 2) {
        stat_inc(queue_full_total);
        reply_error(x, ERR_QUEUE_FULL, "Too many uploads are under way.", NULL);
        upload_free(u);
        return false;
    }
    str_copy(u->portal, sizeof u->portal, r.portal);
    str_copy(u->action, sizeof u->action, r.action);
    str_copy(u->callback_url, sizeof u->callback_url, r.callback_url);
    if (key.len)
        str_copy(u->key, sizeof u->key, key);
    else
        id_request(u->key); /* a unique key */
    str_copy(u->name, sizeof u->name, r.name);
    u->closes = r.closes;
    if (jv_len(jv_get(about, "then")))
        u->then = jv_dump(jv_get(about, "then"), &u->then_len);
    u->priority = r.priority;
    u->available_at_ms = r.available_at_ms;
    digest_make(u, about);
    return true;
}

void upload_begin(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    if (!exchange_count_new(x))
        return;
    query_parse(&q, x->query, &errors);
    struct jv *about = params_batch_query(&q);
    upload_describe(upload_new(x), about, errors);
    jv_free(about);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static void lines_free(char **lines, size_t len)
{
    if (*lines)
        explicit_bzero(*lines, len);
    free(*lines);
    *lines = NULL;
}

static void upload_free(struct upload *u)
{
    struct uploads *all = u->b->uploads;
    loop_timer_stop(u->b->loop, &u->timer);
    flight_close(&u->flight);
    for (unsigned i = 0; i < BODIES_MAX; i++) {
        flight_close(&u->body[i].flight);
        lines_free(&u->body[i].lines, u->body[i].len);
    }
    for (unsigned i = 0; i < u->n_rejected; i++)
        jv_free(u->rejected[i].v);
    if (u->x)
        u->x->upload = NULL;
    LIST_REMOVE(u, of_all);
    all->n--;
    caller_drop(&u->caller);
    lines_free(&u->then, u->then_len);
    buf_wipe(&u->line);
    buf_wipe(&u->chunk);
    buf_wipe(&u->lines);
    judging_end(&u->judging);
    jv_free(u->about);
    jv_free(u->extra);
    free(u);
}

static void answer_accepted(struct upload *u)
{
    struct jv *body = jv_new_object(), *rejected = jv_new_array();
    for (unsigned i = 0; i < u->n_rejected; i++) {
        jv_push(rejected, u->rejected[i].v);
        u->rejected[i].v = NULL;
    }
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "batch_id", (int64_t)u->batch_id);
    jv_set_int(body, "accepted", (int64_t)u->accepted);
    jv_set_int(body, "rejected_total", (int64_t)u->rejected_total);
    jv_set(body, "rejected", rejected);
    reply_header(u->x, "Location", "/api/v1/app/batches/%" PRIu64, u->batch_id);
    if (u->is_replay)
        reply_header(u->x, "Idempotency-Replayed", "true");
    reply_jv(u->x, 202, body);
}

static void answer_failed(struct upload *u)
{
    struct jv *extra = u->extra ? u->extra : jv_new_object();
    u->extra = NULL;
    if (u->batch_id)
        jv_set_int(extra, "batch_id", (int64_t)u->batch_id);
    reply_error(u->x, u->error, u->message, extra);
    u->x->is_discarding = true;
}

static void failure_log(const struct upload *u)
{
    if (err_http(u->error) < 500)
        return; /* the client's fault */
    stat_inc(uploads_failed_total);
    log_line(LOG_WARN, "upload_failed", "request", u->caller.request_id, "batch", log_i((long long)u->batch_id),
             "lines", log_i((long long)u->next_index), "why", err_code(u->error), NULL);
}

/* When the upload is over: answers x and frees the upload. */
static void upload_settle(struct upload *u)
{
    bool is_under_way = u->n_bodies || u->flight.state != FLIGHT_NONE;
    bool is_left = !u->x && !is_under_way && !u->chunk.len && !u->lines.data;
    struct exchange *x = u->x;
    if (u->is_held)
        return;
    if (u->error) {
        failure_log(u);
        if (x)
            answer_failed(u);
    } else if (u->is_closed) {
        if (x)
            answer_accepted(u);
    } else if (!is_left) {
        if (x && x->phase == PHASE_BODY && !upload_is_full(u))
            exchange_answered(x); /* reading of the body continues */
        return;
    }
    upload_free(u);
    if (x)
        exchange_answered(x);
}

static void upload_fail(struct upload *u, enum err e)
{
    if (!u->error)
        u->error = e;
}

/* ---- dispatchers' answers ----------------------------------------------------------------------------------- */

/* The upload takes over an error's code, message and payload. */
static void take_error(struct upload *u, const struct msg_REPLY *m, struct str payload)
{
    enum err e = err_from_code(m->error.p, m->error.len);
    enum jv_bad why;
    if (u->error)
        return;
    if (e == ERR_COUNT || e == ERR_OK) {
        stat_inc(replies_refused_total);
        u->error = ERR_NO_DISPATCHER;
        return;
    }
    u->error = e;
    str_copy(u->message, sizeof u->message, m->message);
    struct jv *extra = payload.len ? jv_parse(payload.p, payload.len, &why) : NULL;
    if (jv_type(extra) == JV_OBJECT)
        u->extra = extra;
    else
        jv_free(extra);
}

/* Returns NULL when the payload is not a valid answer to that step. */
static struct jv *take_object(struct upload *u, const struct msg_REPLY *m, struct str payload)
{
    enum jv_bad why;
    if (m->error.len) {
        take_error(u, m, payload);
        return NULL;
    }
    struct jv *v = jv_parse(payload.p, payload.len, &why);
    if (m->status == 200 && jv_type(v) == JV_OBJECT)
        return v;
    jv_free(v);
    stat_inc(replies_refused_total);
    upload_fail(u, ERR_NO_DISPATCHER);
    return NULL;
}

/* Takes ownership of v. The first REJECTED_MAX by index are kept; they arrive nearly in order. */
static void rejected_add(struct upload *u, uint64_t index, struct jv *v)
{
    unsigned at = u->n_rejected;
    while (at && u->rejected[at - 1].index > index)
        at--;
    if (at == REJECTED_MAX) {
        jv_free(v);
        return;
    }
    if (u->n_rejected == REJECTED_MAX)
        jv_free(u->rejected[--u->n_rejected].v);
    memmove(u->rejected + at + 1, u->rejected + at, (u->n_rejected - at) * sizeof u->rejected[0]);
    u->rejected[at] = (struct rejected){index, v};
    u->n_rejected++;
}

static void take_rejected(struct upload *u, const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *v = jv_at(list, i);
        int64_t index;
        if (jv_int(jv_get(v, "index"), &index) && index >= 0 && (uint64_t)index < u->next_index)
            rejected_add(u, (uint64_t)index, jv_copy(v));
    }
}

static void body_free(struct body *o)
{
    lines_free(&o->lines, o->len);
    o->upload->n_bodies--;
}

static void body_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct body *o = arg;
    struct upload *u = o->upload;
    int64_t accepted, rejected;
    body_free(o);
    struct jv *v = take_object(u, m, payload);
    if (v && jv_int(jv_get(v, "accepted"), &accepted) && jv_int(jv_get(v, "rejected_total"), &rejected) &&
        accepted >= 0 && rejected >= 0) {
        u->accepted += (uint64_t)accepted;
        u->rejected_total += (uint64_t)rejected;
        stat_add(upload_items_total, accepted);
        take_rejected(u, jv_get(v, "rejected"));
    } else if (v) {
        stat_inc(replies_refused_total);
        upload_fail(u, ERR_NO_DISPATCHER);
    }
    jv_free(v);
    upload_turn(u);
    upload_settle(u);
}

static void body_failed(void *arg, enum err e)
{
    struct body *o = arg;
    struct upload *u = o->upload;
    body_free(o);
    upload_fail(u, e);
    upload_settle(u);
}

static void step_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct upload *u = arg;
    int64_t batch_id;
    struct jv *v = take_object(u, m, payload);
    const char *status = jv_str(jv_get(v, "status"));
    if (!v) {
        /* it failed */
    } else if (u->batch_id) {
        u->is_closed = true;
    } else if (jv_int(jv_get(v, "batch_id"), &batch_id) && batch_id > 0 && status) {
        u->batch_id = (uint64_t)batch_id;
        u->is_replay = m->replayed && strcmp(status, "open") != 0;
    } else {
        stat_inc(replies_refused_total);
        upload_fail(u, ERR_NO_DISPATCHER);
    }
    jv_free(v);
    upload_turn(u);
    upload_settle(u);
}

static void step_failed(void *arg, enum err e)
{
    struct upload *u = arg;
    upload_fail(u, e);
    upload_settle(u);
}

static const struct flight_user body_asker = {.reply = body_replied, .failed = body_failed};
static const struct flight_user step_asker = {.reply = step_replied, .failed = step_failed};

/* ---- sending ------------------------------------------------------------------------------------------------ */

static void flight_go(struct upload *u, struct flight *f, enum op op)
{
    caller_request(&u->caller, &f->request);
    f->op = op;
    f->fair_key = u->caller.token->id | 1ull << 63;
    f->deadline_at_ms = loop_now_ms(u->b->loop) + u->step_ms;
    flight_start(u->b, f);
}

static void open_send(struct upload *u)
{
    struct flight *f = &u->flight;
    f->user = &step_asker;
    f->arg = u;
    f->request = (struct msg_REQUEST){.portal = str_of(u->portal),
                                      .action = str_of(u->action),
                                      .priority = u->priority,
                                      .callback_url = str_of(u->callback_url),
                                      .available_at_ms = u->available_at_ms,
                                      .name = str_of(u->name),
                                      .closes = u->closes,
                                      .idempotency_key = str_of(u->key),
                                      .body_digest = {(const char *)u->digest, sizeof u->digest}};
    f->payload = (struct str){u->then ? u->then : "", (uint32_t)u->then_len};
    flight_go(u, f, OP_BATCH_OPEN);
}

/* `index` is the number of lines, so that a shorter body under the same key is distinguished from the whole
 * one. */
static void close_send(struct upload *u)
{
    struct flight *f = &u->flight;
    f->request = (struct msg_REQUEST){.batch_id = u->batch_id, .index = u->next_index};
    f->payload = (struct str){"", 0};
    flight_go(u, f, OP_BATCH_CLOSE);
}

static void body_send(struct upload *u)
{
    struct body *o = u->body;
    while (o->flight.state != FLIGHT_NONE || o->lines)
        o++;
    o->upload = u;
    o->lines = buf_take(&u->chunk, &o->len);
    u->is_sealed = false;
    u->n_bodies++;
    o->flight.user = &body_asker;
    o->flight.arg = o;
    o->flight.request = (struct msg_REQUEST){.batch_id = u->batch_id, .index = u->chunk_index};
    o->flight.payload = (struct str){o->lines, (uint32_t)o->len};
    stat_inc(upload_chunks_total);
    flight_go(u, &o->flight, OP_BATCH_BODY);
}

/* A slow client's lines are sent without waiting for more; a fast client fills whole chunks in that time. */
static bool is_chunk_due(const struct upload *u)
{
    return u->chunk.len && u->n_bodies < BODIES_MAX && (u->is_sealed || u->is_whole || !u->x || !u->n_bodies);
}

/* ---- lines -------------------------------------------------------------------------------------------------- */

static const char why_many_lines[] =
    "NDJSON holds one whole JSON object a line, and its first line ends inside of one: write it with jq -c, or send application/json.";

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t')
            return false;
    return true;
}

static void line_refuse(struct upload *u)
{
    struct jv *v = jv_new_object();
    jv_set_int(v, "index", (int64_t)u->next_index);
    jv_set_str(v, "error", err_code(ERR_PAYLOAD_TOO_LARGE));
    rejected_add(u, u->next_index, v);
    u->rejected_total++;
    u->next_index++;
    u->is_sealed = u->chunk.len; /* the lines of a chunk are consecutive */
}

/* Adds a whole line without its end to the chunk. The caller has checked that it fits. */
static void line_put(struct upload *u, const char *line, size_t len)
{
    size_t mark = u->is_begun ? 0 : utf8_mark(line, len);
    u->is_begun = true;
    line += mark;
    len -= mark;
    if (len && line[len - 1] == '\r')
        len--;
    if (is_blank(line, len))
        return;
    if (!u->next_index && jv_is_begun(line, len)) {
        upload_fail(u, ERR_BAD_REQUEST);
        strcpy(u->message, why_many_lines);
        return;
    }
    if (len > LINE_BYTES_MAX) {
        line_refuse(u);
        return;
    }
    if (!u->chunk.data)
        buf_room(&u->chunk, BODY_BYTES_MAX);
    if (!u->chunk.len)
        u->chunk_index = u->next_index;
    buf_add(&u->chunk, line, len);
    buf_add(&u->chunk, "\n", 1);
    u->next_index++;
    u->is_sealed = u->chunk.len + LINE_BYTES_MAX + 1 > BODY_BYTES_MAX;
}

/* Handles the end of a line that arrived in pieces. */
static void line_end(struct upload *u)
{
    if (u->is_long)
        line_refuse(u);
    else
        line_put(u, u->line.data ? u->line.data : "", u->line.len);
    u->is_long = false;
    buf_clear(&u->line);
}

static void line_grow(struct upload *u, const char *piece, size_t len)
{
    if (!u->line.data)
        buf_room(&u->line, LINE_BYTES_MAX + 1);
    u->is_long |= u->line.len + len > LINE_BYTES_MAX + 1; /* one more byte, because it may be a CR */
    if (!u->is_long)
        buf_add(&u->line, piece, len);
}

bool upload_is_full(const struct upload *u)
{
    return !u->error && (u->n_bodies == BODIES_MAX || u->is_sealed);
}

/* Takes data up to a line boundary where nothing more fits. */
static size_t lines_take(struct upload *u, const char *data, size_t len)
{
    size_t at = 0;
    while (at < len && !u->error && !upload_is_full(u)) {
        const char *piece = data + at, *end = memchr(piece, '\n', len - at);
        size_t n = end ? (size_t)(end - piece) : len - at;
        at += n + (end ? 1 : 0);
        if (end && !u->line.len && !u->is_long) {
            line_put(u, piece, n);
        } else {
            line_grow(u, piece, n);
            if (end)
                line_end(u);
        }
    }
    return at;
}

size_t upload_take(struct upload *u, const char *data, size_t len)
{
    size_t at = 0;
    u->is_held = true;
    if (auth_refused(u->x)) /* it may have begun hours ago */
        upload_fail(u, ERR_UNAUTHENTICATED);
    do {
        at += lines_take(u, data + at, len - at);
        upload_turn(u);
    } while (at < len && !u->error && !upload_is_full(u));
    stat_add(upload_bytes_total, at);
    if (upload_is_full(u))
        stat_inc(uploads_paused_total);
    if (u->error)
        at = len; /* the rest is discarded */
    u->is_held = false;
    upload_settle(u);
    return at;
}

/* ---- a turn ------------------------------------------------------------------------------------------------- */

/* Feeds the lines made from a JSON body, as far as there is room. */
static void lines_feed(struct upload *u)
{
    while (u->lines_at < u->lines.len && !u->is_sealed) {
        const char *line = u->lines.data + u->lines_at;
        size_t len = (size_t)((const char *)memchr(line, '\n', u->lines.len - u->lines_at) - line);
        line_put(u, line, len);
        u->lines_at += len + 1;
    }
    if (u->lines_at < u->lines.len)
        return;
    u->is_whole = true;
    buf_wipe(&u->lines);
}

/* Does all that is possible now. A request started here may fail at once; the caller of this function then settles
 * the upload. */
static void upload_turn(struct upload *u)
{
    bool was_held = u->is_held;
    u->is_held = true;
    do {
        if (u->lines.data && !u->is_sealed)
            lines_feed(u);
        if (u->error)
            break;
        if (!u->batch_id && u->next_index && u->flight.state == FLIGHT_NONE)
            open_send(u);
        if (u->batch_id && is_chunk_due(u))
            body_send(u);
    } while (!u->error && u->lines.data && !u->is_sealed);
    bool is_over = u->is_whole && u->batch_id && !u->chunk.len && !u->n_bodies;
    if (is_over && !u->error && !u->is_closed && u->flight.state == FLIGHT_NONE)
        close_send(u);
    u->is_held = was_held;
}

/* The body is complete. */
static void upload_finish(struct upload *u)
{
    u->is_held = true;
    if (u->line.len || u->is_long)
        line_end(u); /* the last line may lack its end */
    u->is_whole = true;
    if (!u->next_index && !u->error) {
        u->error = ERR_VALIDATION_FAILED;
        u->extra = jv_new_object();
        struct jv *errors = NULL;
        errors_add(&errors, "items", "holds no item");
        jv_set(u->extra, "errors", errors);
    }
    upload_turn(u);
    u->is_held = false;
    upload_settle(u);
}

/* ---- a JSON body -------------------------------------------------------------------------------------------- */

static void json_refuse(struct upload *u, enum jv_bad why)
{
    struct exchange *x = u->x;
    exchange_refuse_json(x, why);
    upload_free(u);
    exchange_answered(x);
}

/* All items are judged: from here on they are treated as lines. */
static void json_judged(struct upload *u)
{
    struct exchange *x = u->x;
    struct jv *errors = NULL, *about = u->about;
    u->about = NULL;
    u->lines = u->judging.lines;
    u->judging.lines = (struct buf){0};
    judging_end(&u->judging);
    if (!u->lines.len)
        errors_add(&errors, "items", "must be a list of at least one item");
    if (upload_describe(u, about, errors)) {
        upload_turn(u);
        upload_settle(u);
    } else {
        exchange_answered(x);
    }
    jv_free(about);
}

static void json_judge(void *arg)
{
    struct upload *u = arg;
    enum jv_bad why;
    switch (judging_go(&u->judging, clock_us() + SLICE_US, &why)) {
    case JUDGED_MORE:
        loop_timer_in(u->b->loop, &u->timer, 1);
        break;
    case JUDGED_GOOD:
        json_judged(u);
        break;
    case JUDGED_BAD:
        json_refuse(u, why);
        break;
    }
}

void app_batch_create(struct exchange *x)
{
    enum jv_bad why = JV_FINE;
    if (x->upload) {
        upload_finish(x->upload);
        return;
    }
    if (!exchange_count_new(x))
        return;
    struct upload *u = upload_new(x);
    size_t mark = utf8_mark(x->body.data, x->body.len);
    if (mark)
        memmove(x->body.data, x->body.data + mark, x->body.len -= mark);
    u->about = judging_begin(&u->judging, &x->body, &why);
    if (jv_type(u->about) != JV_OBJECT) {
        json_refuse(u, why);
        return;
    }
    u->timer = (struct loop_timer){.fn = json_judge, .arg = u};
    json_judge(u);
}

void upload_leave(struct exchange *x)
{
    struct upload *u = x->upload;
    if (!u)
        return;
    x->upload = NULL;
    u->x = NULL;
    if (u->about) { /* nothing was opened yet */
        upload_free(u);
        return;
    }
    if (!u->is_whole && !u->lines.data)
        stat_inc(uploads_cut_total);
    buf_wipe(&u->line); /* an incomplete line */
    u->is_long = false;
    upload_turn(u);
    upload_settle(u);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

struct uploads *uploads_new(void)
{
    return xcalloc(1, sizeof(struct uploads));
}

void uploads_destroy(struct broker *b)
{
    while (b->uploads && !LIST_EMPTY(&b->uploads->list))
        upload_free(LIST_FIRST(&b->uploads->list));
    free(b->uploads);
    b->uploads = NULL;
}

void uploads_stats(const struct broker *b)
{
    stat_set(uploads, b->uploads->n);
}
