/* SPDX-License-Identifier: MIT */
/*
 * sse.c - answers made of server-sent events (WHATWG HTML 9.2), pulled by HTTP like a stream.
 *
 * Owns: unread events, at most ROOM_BYTES or one event for each answer; a comment every KEEP_ALIVE_MS, so that
 * silence differs from failure; and the check of the token. These answers outlive their token's verdict, so a
 * revoked token ends its events within 5 s. Must never make a sender wait: an event that does not fit is refused.
 */
#include "broker/sse.h"
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/pull.h"
#include "broker/reply.h"

#include "common/check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ROOM_BYTES 65536
#define BLOCK_BYTES 4096
#define KEEP_ALIVE_MS 15000
#define TICK_MS 1000

struct sse {
    struct pull pull; /* first member */
    struct broker *b;
    LIST_ENTRY(sse) of_live;
    struct exchange *x; /* NULL: the exchange has ended */
    const struct sse_user *user;
    void *arg;
    struct buf out;
    size_t taken; /* bytes of out already read */
    bool is_ended;
    uint64_t said_at_ms;
};

struct live {
    struct broker *b;
    LIST_HEAD(sses, sse) list;
    uint64_t n;
    struct loop_timer tick;
};

static void say(struct sse *s, const char *text, size_t len)
{
    buf_add(&s->out, text, len);
    s->said_at_ms = loop_now_ms(s->b->loop);
}

bool sse_is_empty(const struct sse *s)
{
    return s->taken == s->out.len;
}

static ssize_t sse_read(struct pull *p, char *out, size_t room)
{
    struct sse *s = (struct sse *)p;
    if (sse_is_empty(s)) {
        buf_clear(&s->out);
        s->taken = 0;
        if (!s->is_ended && s->user->refill)
            s->user->refill(s->arg);
    }
    if (sse_is_empty(s))
        return s->is_ended ? PULL_END : 0;
    size_t left = s->out.len - s->taken, n = left < room ? left : room;
    memcpy(out, s->out.data + s->taken, n);
    s->taken += n;
    return (ssize_t)n;
}

static void sse_destroy(struct pull *p)
{
    struct sse *s = (struct sse *)p;
    struct live *all = s->b->live;
    LIST_REMOVE(s, of_live);
    all->n--;
    if (s->x)
        s->x->sse = NULL;
    s->user->gone(s->arg);
    buf_free(&s->out);
    free(s);
}

struct sse *sse_new(struct exchange *x, const struct sse_user *user, void *arg)
{
    static const char first[] = "retry: 2000\n\n"; /* the head leaves together with it */
    struct live *all = x->b->live;
    struct sse *s = xcalloc(1, sizeof *s);
    s->pull = (struct pull){.read = sse_read, .destroy = sse_destroy, .block_bytes = BLOCK_BYTES};
    s->b = x->b;
    s->x = x;
    s->user = user;
    s->arg = arg;
    LIST_INSERT_HEAD(&all->list, s, of_live);
    all->n++;
    x->sse = s;
    stat_inc(sse_total);
    say(s, first, sizeof first - 1);
    reply_events(x, &s->pull);
    return s;
}

void sse_leave(struct exchange *x)
{
    if (x->sse)
        x->sse->x = NULL;
    x->sse = NULL;
}

bool sse_event(struct sse *s, const char *name, const char *data, size_t len)
{
    if (!sse_is_empty(s) && s->out.len + strlen(name) + len + 32 > ROOM_BYTES)
        return false;
    struct buf text = {0};
    buf_addf(&text, "event: %s\ndata: ", name);
    buf_add(&text, data, len);
    buf_adds(&text, "\n\n");
    say(s, text.data, text.len);
    buf_free(&text);
    stat_inc(sse_events_total);
    pull_ready(&s->pull);
    return true;
}

void sse_end(struct sse *s)
{
    s->is_ended = true;
    pull_ready(&s->pull);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void look(struct sse *s, uint64_t now)
{
    static const char alive[] = ": keep-alive\n\n";
    if (s->x && auth_refused(s->x)) {
        buf_clear(&s->out);
        s->taken = 0;
        sse_end(s);
    } else if (!s->is_ended && sse_is_empty(s) && now >= s->said_at_ms + KEEP_ALIVE_MS) {
        say(s, alive, sizeof alive - 1);
        pull_ready(&s->pull);
    }
}

static void tick(void *arg)
{
    struct live *all = arg;
    uint64_t now = loop_now_ms(all->b->loop);
    struct sse *s;
    LIST_FOREACH(s, &all->list, of_live)
        look(s, now);
    loop_timer_in(all->b->loop, &all->tick, TICK_MS);
}

struct live *live_new(struct broker *b)
{
    struct live *all = xcalloc(1, sizeof *all);
    all->b = b;
    all->tick = (struct loop_timer){.fn = tick, .arg = all};
    loop_timer_in(b->loop, &all->tick, TICK_MS);
    return all;
}

void live_destroy(struct live **lp)
{
    struct live *all = *lp;
    if (!all)
        return;
    *lp = NULL;
    CHECK(LIST_EMPTY(&all->list), "events=%llu", (unsigned long long)all->n);
    loop_timer_stop(all->b->loop, &all->tick);
    free(all);
}

void live_quiesce(struct broker *b)
{
    struct sse *s;
    LIST_FOREACH(s, &b->live->list, of_live)
        sse_end(s);
}

void live_stats(const struct broker *b)
{
    stat_set(sse_active, b->live->n);
}
