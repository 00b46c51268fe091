/* SPDX-License-Identifier: MIT */
/*
 * request.c - the requests in flight.
 *
 * Owns: the table of requests by our key and by the broker's id, and the chunk credit of streamed answers. Must
 * never answer a request twice, nor after its broker is gone. The broker answers the 504 at the deadline. One
 * second after its deadline a remaining request is dropped here.
 */
#include "dispatcher/wire/request.h"
#include "dispatcher/news.h"
#include "dispatcher/wire/pass.h"

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

struct requests *requests_new(void)
{
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

/* Removes it from the table and returns its credit. */
void request_free(struct dispatcher *d, struct request *r)
{
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
    d->news->request_ends(d, r);
    if (r->params) {
        explicit_bzero(r->params, r->params_len);
        free(r->params);
    }
    pass_free(r->pass);
    free(r->companies);
    free(r);
}

/* The request's client is gone: the handler releases it, then it is freed. */
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
    r->user_id = m->user_id;
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
    r->course = m->course;
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

bool request_take(struct dispatcher *d, unsigned peer, const struct msg_REQUEST *m, struct str payload)
{
    if (find_by_id(d, peer, m->id)) /* a broker must not reuse the id of a request in flight */
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
    d->news->request_came(d, r);
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

void requests_each(struct dispatcher *d, enum op op,
                   void (*fn)(struct dispatcher *d, struct request *r, void *arg), void *arg)
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

void request_credit(struct dispatcher *d, unsigned peer, uint64_t id, uint64_t limit)
{
    struct request *r = find_by_id(d, peer, id);
    if (!r || !r->streaming || limit <= r->chunk_limit)
        return;
    r->chunk_limit = limit;
    if (r->on_credit)
        r->on_credit(d, r);
}
