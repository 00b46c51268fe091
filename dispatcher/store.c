/*
 * store.c - the actor threads that talk to MariaDB.
 *
 * Owns: the threads, their pipes, the queue of ops that wait for one. An op
 * belongs to the caller, then to the queue, then to one thread, then to the
 * caller again; the pipe carries its address as the sign of who owns it. Must
 * never touch an op that a thread has. Fails soft: without a database each op
 * comes back with STORE_DOWN after one attempt to connect; while the last
 * attempt is younger than the back-off ops are answered without trying.
 */
#include "dispatcher/store.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/stat.h"

#include <czmq.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define HAND_OVER(p) __tsan_release(p)
#define TAKE_OVER(p) __tsan_acquire(p)
#else
#define HAND_OVER(p) ((void)(p))
#define TAKE_OVER(p) ((void)(p))
#endif

#define BACK_OFF_MIN_MS 50
#define BACK_OFF_MAX_MS 1000

struct task {
    store_fn *fn;
    void *op;
    store_done_fn *done;
    void *arg;
    bool up; /* set by the thread: the database was reached, and still is */
    uint64_t came_us, took_us; /* took: set by the thread */
    struct db_refusal refusal; /* set by the thread: the last one, number 0 = none */
    struct task *next;
};

struct worker {
    struct store *store;
    pthread_t thread;
    zsock_t *pipe, *far_pipe; /* ours; the thread's, which is its own until it is joined */
    struct loop_fd *watch;
    struct task *task; /* what it works on, NULL = idle */
};

struct store {
    struct loop *loop;
    const struct conf *conf;
    struct worker *workers;
    unsigned n_workers, n_idle, n_waiting;
    struct task *first, **last;
    bool up, told;
    const struct db_refusal *refusal; /* of the op whose done callback runs */
};

const char *const session_state_name[SESSION_STATE_COUNT] = {"opening", "active",  "closing", "closed",
                                                             "expired", "lost",    "migrated"};

/* ---- on a thread ----------------------------------------------------------------------------------------------- */

struct link { /* a thread's connection and when it may be tried again */
    struct db *db;
    uint64_t again_ms;
    unsigned failures;
};

static bool link_up(struct link *l)
{
    uint64_t now = clock_ms();
    if (l->again_ms > now)
        return false;
    if (db_ready(l->db) == DB_OK) {
        l->failures = 0;
        l->again_ms = 0;
        return true;
    }
    uint64_t most = BACK_OFF_MIN_MS << (l->failures < 5 ? l->failures : 5);
    l->failures++;
    l->again_ms = now + 1 + id_random_u64() % (most < BACK_OFF_MAX_MS ? most : BACK_OFF_MAX_MS);
    return false;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    zsock_t *pipe = w->far_pipe;
    struct link l = {db_new(w->store->conf), 0, 0};
    for (;;) {
        zframe_t *frame = zframe_recv(pipe);
        if (!frame)
            break;
        struct task *t = NULL;
        if (zframe_size(frame) == sizeof(t))
            memcpy(&t, zframe_data(frame), sizeof(t));
        zframe_destroy(&frame);
        if (!t) /* an empty frame: the end */
            break;
        TAKE_OVER(t);
        t->up = link_up(&l);
        uint64_t begun_us = clock_us();
        db_refusal_clear(l.db);
        t->fn(t->up ? l.db : NULL, t->op);
        t->refusal = *db_refusal(l.db);
        t->took_us = clock_us() - begun_us;
        t->up = t->up && db_is_open(l.db);
        HAND_OVER(t);
        frame = zframe_new(&t, sizeof(t));
        zframe_send(&frame, pipe, 0);
    }
    db_destroy(&l.db);
    return NULL;
}

/* ---- on the loop ----------------------------------------------------------------------------------------------- */

static void judge(struct store *s, bool up)
{
    if (s->told && s->up == up)
        return;
    if (s->told || !up)
        log_line(up ? LOG_INFO : LOG_WARN, "database", "to", up ? "up" : "down", NULL);
    s->told = true;
    s->up = up;
}

static void give(struct worker *w, struct task *t)
{
    w->task = t;
    stat_time(database_wait_seconds, clock_us() - t->came_us);
    w->store->n_idle--;
    HAND_OVER(t);
    zframe_t *frame = zframe_new(&t, sizeof(t));
    CHECK(zframe_send(&frame, w->pipe, 0) == 0, "pipe to a database thread");
}

/* Takes back what the thread has done. False when there was nothing. Asking an idle thread's pipe would cost two system calls. */
static bool take_back(struct worker *w)
{
    struct store *s = w->store;
    if (!w->task || !(zsock_events(w->pipe) & ZMQ_POLLIN))
        return false;
    zframe_t *frame = zframe_recv(w->pipe);
    struct task *t = w->task;
    CHECK(frame && t, "an answer without a task");
    zframe_destroy(&frame);
    TAKE_OVER(t);
    w->task = NULL;
    s->n_idle++;
    judge(s, t->up);
    if (t->up)
        stat_time(database_op_seconds, t->took_us);
    if (s->first) {
        struct task *next = s->first;
        if (!(s->first = next->next))
            s->last = &s->first;
        s->n_waiting--;
        give(w, next);
    }
    s->refusal = &t->refusal;
    t->done(t->arg, t->op);
    s->refusal = NULL;
    free(t);
    return true;
}

static void worker_ready(void *arg, uint32_t events)
{
    (void)events;
    while (take_back(arg))
        ;
}

/* The pipes' descriptors are edge-like: look once more before each sleep. */
static bool before_sleep(void *arg)
{
    struct store *s = arg;
    bool worked = false;
    for (unsigned i = 0; i < s->n_workers; i++)
        worked |= take_back(&s->workers[i]);
    return worked;
}

struct store *store_new(struct loop *l, const struct conf *conf)
{
    struct store *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->conf = conf;
    s->last = &s->first;
    s->n_workers = s->n_idle = (unsigned)conf->dispatcher_db_threads;
    s->workers = xcalloc(s->n_workers, sizeof(*s->workers));
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        w->store = s;
        w->pipe = zsys_create_pipe(&w->far_pipe);
        CHECK(w->pipe && pthread_create(&w->thread, NULL, thread_main, w) == 0, "a database thread");
        w->watch = loop_fd_add(l, zsock_fd(w->pipe), EPOLLIN, worker_ready, w);
    }
    loop_hook(l, before_sleep, s);
    return s;
}

/* Joined, which a zactor is not: what libraries keep for a thread is freed after its last line. */
static void worker_end(struct worker *w)
{
    zframe_t *end = zframe_new(NULL, 0);
    CHECK(zframe_send(&end, w->pipe, 0) == 0, "pipe to a database thread");
    pthread_join(w->thread, NULL);
    zsock_destroy(&w->far_pipe);
    zsock_destroy(&w->pipe);
    free(w->task);
}

void store_destroy(struct store **sp)
{
    struct store *s = *sp;
    if (!s)
        return;
    loop_unhook(s->loop, before_sleep, s);
    for (unsigned i = 0; i < s->n_workers; i++) {
        loop_fd_remove(s->loop, &s->workers[i].watch);
        worker_end(&s->workers[i]);
    }
    while (s->first) {
        struct task *t = s->first;
        s->first = t->next;
        free(t);
    }
    free(s->workers);
    free(s);
    *sp = NULL;
}

void store_submit(struct store *s, store_fn *fn, void *op, store_done_fn *done, void *arg)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.fn = fn, .op = op, .done = done, .arg = arg, .came_us = clock_us()};
    for (unsigned i = 0; i < s->n_workers; i++)
        if (!s->workers[i].task) {
            give(&s->workers[i], t);
            return;
        }
    *s->last = t;
    s->last = &t->next;
    s->n_waiting++;
}

const struct db_refusal *store_refusal(const struct store *s)
{
    return s->refusal && s->refusal->number ? s->refusal : NULL;
}

bool store_is_up(const struct store *s)
{
    return s->up;
}

unsigned store_waiting(const struct store *s)
{
    return s->n_waiting;
}

unsigned store_idle_threads(const struct store *s)
{
    return s->n_idle;
}
