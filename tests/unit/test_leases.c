/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Which leases are renewed and rescued, and when. The database and the rest of the dispatcher are played here. */
#include "dispatcher/session/close.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/peer.h"

#include "tests/unit/test.h"
#include <stdlib.h>
#include <unistd.h>

#define LEASE_MS 1200
#define SWEEP_MS 50
#define JOB 7

static struct conf conf = {.queue_lease_ms = LEASE_MS, .session_sweep_ms = SWEEP_MS};
static struct dispatcher d;
static unsigned n_renewals, n_rescues;
static struct {
    store_done_fn *fn;
    void *arg, *op;
} renewal; /* under way */

/* ---- what lease.c asks of others ---------------------------------------------------------------------------- */

const char *const lease_kind_name[] = {"login", "action", "close", "migrate", "round"};

void store_renew(struct db *db, void *arg)
{
    (void)db, (void)arg;
}

void store_rescue(struct db *db, void *arg)
{
    (void)db, (void)arg;
}

void store_leases_expire(struct db *db, void *arg)
{
    (void)db, (void)arg;
}

void store_action_end(struct db *db, void *arg)
{
    (void)db, (void)arg;
}

void store_submit_duty(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done, void *arg)
{
    (void)s, (void)duty;
    n_rescues += fn == store_rescue;
    done(arg, op); /* it finds nothing */
}

void store_submit_prompt(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done, void *arg)
{
    (void)s, (void)duty, (void)fn;
    n_renewals++;
    renewal.fn = done;
    renewal.arg = arg;
    renewal.op = op;
}

void close_session(struct dispatcher *unused, const struct session_row *row, enum session_state to,
                   const char *reason, const struct request *actor, bool claimed, const struct lease *lease,
                   close_done_fn *fn, void *arg)
{
    (void)unused, (void)row, (void)to, (void)reason, (void)actor, (void)claimed, (void)lease, (void)fn, (void)arg;
}

void peers_wake(struct dispatcher *unused, const char *what)
{
    (void)unused, (void)what;
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

static void renewal_ends(void)
{
    struct store_renew *op = renewal.op;
    renewal.op = NULL;
    for (unsigned i = 0; op && i < op->n; i++)
        op->news[i] = LEASE_HELD;
    if (op)
        renewal.fn(renewal.arg, op);
}

static int set_up(void **state)
{
    (void)state;
    n_renewals = n_rescues = 0;
    d = (struct dispatcher){.conf = &conf, .robots_revision = 1, .name = "d1", .boot_id = "b1"};
    d.leases = leases_new(&d);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    leases_destroy(&d.leases);
    return 0;
}

TEST_WITH(test_expired_leases_are_looked_for_again_and_again, set_up, tear_down)
{
    for (unsigned i = 0; i < 100 && n_rescues < 3; i++) {
        leases_tick(&d);
        usleep(SWEEP_MS * 1000);
    }
    assert_int_equal(n_rescues, 3);
    assert_int_equal(n_renewals, 0);
}

/* The lease ran out while we stood still. It is renewed, and the log-in goes on, unless we rescue it from ourselves. */
TEST_WITH(test_after_a_stall_of_our_own_no_lease_is_rescued_before_ours_are_renewed, set_up, tear_down)
{
    struct lease lease;
    lease_fill(&d, &lease, 1000);
    leases_tick(&d);
    usleep((LEASE_MS + SWEEP_MS + 10) * 1000);
    leases_tick(&d);
    assert_int_equal(n_rescues, 1); /* a log-in that was just reserved is not held yet */
    lease_hold(&d, JOB, &lease, NULL, NULL);
    assert_false(lease_trusted(&d, JOB, lease.token));
    leases_tick(&d);
    assert_int_equal(n_renewals, 1);
    assert_int_equal(n_rescues, 1);
    for (unsigned i = 0; i < 100 && n_rescues < 2; i++) {
        renewal_ends();
        leases_tick(&d);
    }
    assert_int_equal(n_rescues, 2);
    renewal_ends();
}

TEST_MAIN(NULL, NULL)
