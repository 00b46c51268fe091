/* SPDX-License-Identifier: MIT */
/* breaker.c - is a portal down? See breaker.h. */
#include "dispatcher/store/breaker.h"
#include "dispatcher/robot/robots.h"

#include "common/text.h"

#include <string.h>

#define SECOND_US UINT64_C(1000000)
#define DOUBT_ASK_US (SECOND_US / 4)
#define ALONE_US (10 * SECOND_US)

const char *const breaker_state_name[BREAKER_STATES] = {"closed", "doubtful", "tripped", "returning"};

/* ---- judging ------------------------------------------------------------------------------------------------ */

static bool is_fault(const struct breaker_attempt *a)
{
    return a->how != BREAKER_WELL;
}

static bool is_young(const struct breaker_attempt *a, uint64_t now_us)
{
    return a->at_us + BREAKER_WINDOW_US > now_us;
}

/* Are the faults of these attempts one robot's, while another does well or nothing but the robot's own failing tells against the
 * portal? */
static bool is_robots_own(const struct breaker *b, uint64_t now_us)
{
    uint32_t robot = 0;
    bool is_named = false;
    for (unsigned i = 0; i < b->n; i++) {
        const struct breaker_attempt *a = &b->recent[i];
        if (!is_fault(a) || !is_young(a, now_us))
            continue;
        if (robot && a->robot_id != robot)
            return false;
        robot = a->robot_id;
        is_named |= a->how == BREAKER_PORTAL;
    }
    for (unsigned i = 0; i < b->n; i++)
        if (!is_fault(&b->recent[i]) && is_young(&b->recent[i], now_us) && b->recent[i].robot_id != robot)
            return true;
    return !is_named;
}

/* One of several robots says so, and what the others know is not known yet. */
static bool is_early(const struct breaker *b, const struct breaker_times *t, uint64_t now_us)
{
    uint64_t first_us = 0;
    uint32_t robot = 0;
    for (unsigned i = 0; i < b->n; i++) {
        if (!is_fault(&b->recent[i]) || !is_young(&b->recent[i], now_us))
            continue;
        if (robot && b->recent[i].robot_id != robot)
            return false;
        robot = b->recent[i].robot_id;
        first_us = first_us ? first_us : b->recent[i].at_us;
    }
    return t->robots > 1 && now_us < first_us + ALONE_US;
}

/* Of the last ones within a minute, and `more` faults behind them: do they tell that it is down? */
static bool tells_down(const struct breaker *b, unsigned more, uint64_t now_us)
{
    unsigned n = more < BREAKER_JUDGED ? more : BREAKER_JUDGED, faults = n;
    for (unsigned i = b->n; i-- && n < BREAKER_JUDGED;) {
        if (!is_young(&b->recent[i], now_us))
            break;
        n++;
        faults += is_fault(&b->recent[i]);
    }
    return n == BREAKER_JUDGED && faults >= BREAKER_FAULTS;
}

/* More faults that would trip it. */
static unsigned faults_left(const struct breaker *b, uint64_t now_us)
{
    for (unsigned more = 1; more < BREAKER_JUDGED; more++)
        if (tells_down(b, more, now_us))
            return more;
    return BREAKER_JUDGED;
}

/* The only fault of the last minute. */
static bool is_first_fault(const struct breaker *b, uint64_t now_us)
{
    unsigned faults = 0;
    for (unsigned i = 0; i < b->n; i++)
        faults += is_fault(&b->recent[i]) && is_young(&b->recent[i], now_us);
    return faults == 1;
}

/* A robot's first fault may be the portal's: that is known in a moment, and held for doubtful until then. */
static bool is_doubt(const struct breaker *b, const struct breaker_attempt *a, uint64_t now_us)
{
    return is_fault(a) && (!is_robots_own(b, now_us) || (a->how == BREAKER_PORTAL && is_first_fault(b, now_us)));
}

static void state_set(struct breaker *b, enum breaker_state state, uint64_t now_us)
{
    b->state = state;
    b->since_us = now_us;
    b->rate = state == BREAKER_RETURNING;
    b->let = b->ended = 0;
    b->rate_us = state == BREAKER_RETURNING ? now_us : 0;
}

static void trip(struct breaker *b, const struct breaker_times *t, uint64_t now_us)
{
    state_set(b, BREAKER_TRIPPED, now_us);
    b->probe_us = now_us + t->probe_us;
    b->sync_us = now_us + t->sync_us;
}

static void returning_judge(struct breaker *b, const struct breaker_times *t, uint64_t now_us)
{
    unsigned faults = 0, well = 0;
    for (unsigned i = 0; i < b->n; i++)
        if (b->recent[i].at_us >= b->since_us) {
            faults += is_fault(&b->recent[i]);
            well += !is_fault(&b->recent[i]);
        }
    if (faults > well)
        trip(b, t, now_us);
}

/* The oldest of the robot that has most goes first: one that fails fast must not make the others be forgotten. */
static void recent_add(struct breaker *b, const struct breaker_attempt *a)
{
    unsigned at = 0, most = 0;
    if (b->n == BREAKER_RECENT) {
        for (unsigned i = 0; i < b->n; i++) {
            unsigned of_robot = 0;
            for (unsigned k = i; k < b->n; k++)
                of_robot += b->recent[k].robot_id == b->recent[i].robot_id;
            if (of_robot > most) {
                most = of_robot;
                at = i;
            }
        }
        memmove(&b->recent[at], &b->recent[at + 1], (b->n - at - 1) * sizeof(b->recent[0]));
        b->n--;
    }
    for (at = b->n; at && b->recent[at - 1].at_us > a->at_us;
         at--) /* it may be told late: others told what came after it */
        b->recent[at] = b->recent[at - 1];
    b->recent[at] = *a;
    b->n++;
}

static bool is_last_well(const struct breaker *b)
{
    return !b->n || !is_fault(&b->recent[b->n - 1]);
}

static uint64_t began_us(const struct breaker_attempt *a)
{
    return a->at_us - (uint64_t)a->took_ms * 1000;
}

/* It went well, and began when the last fault was there already: one that was under way by then tells nothing. */
static bool is_behind_faults(const struct breaker *b, const struct breaker_attempt *a)
{
    for (unsigned i = 0; i < b->n; i++)
        if (is_fault(&b->recent[i]) && b->recent[i].at_us > began_us(a))
            return false;
    return !is_fault(a);
}

bool breaker_ended(struct breaker *b, const struct breaker_times *t, const struct breaker_attempt *a,
                   const char *error, uint64_t now_us)
{
    enum breaker_state before = b->state;
    uint64_t since_us = b->since_us;
    recent_add(b, a);
    if (is_fault(a) && error && *error)
        text_clean(b->why, sizeof(b->why), error, strlen(error), 64);
    switch (b->state) {
    case BREAKER_CLOSED:
    case BREAKER_DOUBTFUL:
        if (tells_down(b, 0, now_us) && !is_robots_own(b, now_us) && !is_early(b, t, now_us))
            trip(b, t, now_us);
        else if (b->state == BREAKER_CLOSED && !is_last_well(b) && is_doubt(b, a, now_us))
            state_set(b, BREAKER_DOUBTFUL, now_us);
        else if (b->state == BREAKER_DOUBTFUL && is_behind_faults(b, a))
            state_set(b, BREAKER_CLOSED, now_us);
        break;
    case BREAKER_TRIPPED:
        if (!is_fault(a) && began_us(a) >= b->since_us)
            state_set(b, BREAKER_RETURNING, now_us);
        break;
    case BREAKER_RETURNING:
        b->ended += !is_fault(a);
        returning_judge(b, t, now_us);
        break;
    case BREAKER_STATES:
        break;
    }
    return b->state != before || b->since_us != since_us;
}

bool breaker_tick(struct breaker *b, uint64_t now_us)
{
    bool is_over = !b->n || !is_young(&b->recent[b->n - 1], now_us) ||
                   (is_robots_own(b, now_us) && now_us >= b->since_us + SECOND_US);
    if (b->state == BREAKER_DOUBTFUL && is_over) {
        state_set(b, BREAKER_CLOSED, now_us);
        return true;
    }
    if (b->state != BREAKER_RETURNING || now_us < b->rate_us + SECOND_US)
        return false;
    bool is_idle = now_us > b->rate_us + BREAKER_WINDOW_US; /* nothing of it waits */
    if (!b->let && !is_idle)
        return false;
    if ((b->ended && b->rate >= BREAKER_RATE_MOST) || is_idle) {
        state_set(b, BREAKER_CLOSED, now_us);
        return true;
    }
    b->rate *= b->ended ? 2 : 1; /* the next second: faster only when this one's went well */
    b->ended = b->let = 0;
    b->rate_us = now_us;
    return true;
}

/* ---- letting through ---------------------------------------------------------------------------------------- */

unsigned breaker_may(const struct breaker *b, unsigned opening, uint64_t now_us, uint64_t *wait_us)
{
    unsigned left;
    *wait_us = 0;
    switch (b->state) {
    case BREAKER_CLOSED:
    case BREAKER_STATES:
        return BREAKER_ANY;
    case BREAKER_DOUBTFUL:
        left = faults_left(b, now_us);
        *wait_us = DOUBT_ASK_US;
        return left > opening ? left - opening : 0;
    case BREAKER_TRIPPED:
        *wait_us = b->probe_us > now_us ? b->probe_us - now_us : 0;
        return *wait_us ? 0 : 1;
    case BREAKER_RETURNING:
        if (now_us >= b->rate_us + SECOND_US)
            return b->rate; /* a new second, which breaker_begun() begins */
        *wait_us = b->rate_us + SECOND_US - now_us;
        return b->rate > b->let ? b->rate - b->let : 0;
    }
    return BREAKER_ANY;
}

void breaker_begun(struct breaker *b, const struct breaker_times *t, unsigned n, uint64_t now_us)
{
    if (b->state == BREAKER_TRIPPED && n)
        b->probe_us = now_us + t->probe_us;
    if (b->state != BREAKER_RETURNING || !n)
        return;
    if (now_us >= b->rate_us + SECOND_US)
        breaker_tick(b, now_us);
    if (b->state == BREAKER_RETURNING &&
        now_us >= b->rate_us + SECOND_US) { /* nothing began in the second before */
        b->rate_us = now_us;
        b->let = 0;
    }
    b->let += n;
}

bool breaker_may_sync(const struct breaker *b, uint64_t now_us, uint64_t *wait_us)
{
    *wait_us = b->state == BREAKER_TRIPPED && b->sync_us > now_us ? b->sync_us - now_us : 0;
    return !*wait_us;
}

void breaker_begun_sync(struct breaker *b, const struct breaker_times *t, uint64_t now_us)
{
    if (b->state == BREAKER_TRIPPED)
        b->sync_us = now_us + t->sync_us;
}

unsigned breaker_give_back(struct breaker *b, uint64_t now_us, struct breaker_attempt *out, unsigned most)
{
    unsigned n = 0;
    if (b->state != BREAKER_TRIPPED)
        return 0;
    for (unsigned i = 0; i < b->n && n < most; i++)
        if (is_fault(&b->recent[i]) && b->recent[i].taken != TAKEN_NOT && is_young(&b->recent[i], now_us)) {
            out[n++] = b->recent[i];
            b->recent[i].taken = TAKEN_NOT;
        }
    return n;
}

/* ---- as bytes ----------------------------------------------------------------------------------------------- */

static void put(uint8_t **at, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *(*at)++ = (uint8_t)(n >> (8 * i));
}

static uint64_t get(const uint8_t **at, unsigned bytes)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t) * (*at)++ << (8 * i);
    return n;
}

size_t breaker_pack(const struct breaker *b, uint8_t out[BREAKER_BYTES])
{
    uint8_t *at = out;
    for (unsigned i = 0; i < b->n; i++) {
        put(&at, b->recent[i].at_us, 8);
        put(&at, b->recent[i].job_id, 8);
        put(&at, b->recent[i].robot_id, 4);
        put(&at, b->recent[i].how, 1);
        put(&at, b->recent[i].taken, 1);
    }
    return (size_t)(at - out);
}

void breaker_unpack(struct breaker *b, const uint8_t *in, size_t len)
{
    b->n = 0;
    for (; in && len >= BREAKER_ATTEMPT_BYTES && b->n < BREAKER_RECENT; len -= BREAKER_ATTEMPT_BYTES) {
        struct breaker_attempt *a = &b->recent[b->n];
        a->at_us = get(&in, 8);
        a->job_id = get(&in, 8);
        a->robot_id = (uint32_t)get(&in, 4);
        a->how = (uint8_t)get(&in, 1);
        a->taken = (uint8_t)get(&in, 1);
        a->took_ms = 0;
        b->n += a->how <= BREAKER_ROBOT;
    }
}
