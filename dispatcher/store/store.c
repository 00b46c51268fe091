/* SPDX-License-Identifier: MIT */
/*
 * store.c - the actor threads that talk to MariaDB.
 *
 * Owns: the threads, their pipes, the ops that wait for one. An op belongs to
 * the caller, then to those that wait, then to one thread, then to the
 * caller again; the pipe carries its address as the sign of who owns it. Must
 * never touch an op that a thread has. Fails soft: without a database each op
 * comes back with STORE_DOWN after one attempt to connect; while the last
 * attempt is younger than the back-off ops are answered without trying.
 *
 * One more thread is for what is prompt: look-ups and leases, which must not wait
 * while all others wait for rows that another application holds.
 * Another one asks the server every half a second whether it takes writes
 * (store_pulse.c) and chooses among the hosts. An answer that does not come for
 * db.stall_ms means that the server hangs: the threads' connections are cut, and
 * their ops come back.
 */
#include "dispatcher/store/store.h"
#include "dispatcher/store/store_pulse.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/stat.h"

#include <czmq.h>
#include <pthread.h>
#include <stdio.h>
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

#define PULSE_MS 500
#define FULL_MS 5000 /* for how long a refusal to prepare is told as the reason */
#define LOOK_BACK_MS 5000
#define BEHIND_MS 1000

/* What the thread tells of an op besides the op's own outcome. */
struct news {
    bool up;                   /* the database was reached, and still is */
    struct db_counts grown;    /* counted by this op; held = how many there are now */
    struct db_refusal refusal; /* the last one, number 0 = none */
    struct db_refusal told;    /* likewise, though the op went on without the row */
    enum db_rc failure;        /* of the last statement that failed for good; DB_OK = none */
    char error[200];
};

struct task {
    const char *duty;
    store_fn *fn;
    void *op;
    store_done_fn *done;
    void *arg;
    struct news news;                    /* set by the thread */
    uint64_t came_us, took_us, given_ms; /* took: set by the thread */
    bool is_prompt;
    struct task *next;
};

struct line { /* tasks that wait for a thread */
    struct task *first, **last;
};

struct worker {
    struct store *store;
    pthread_t thread;
    zsock_t *pipe, *far_pipe; /* ours; the thread's, which is its own until it is joined */
    struct loop_fd *watch;
    struct task *task; /* what it works on, NULL = idle */
    struct db *db;     /* the thread's, but for db_cut() */
    unsigned held;     /* statements, as it told */
};

struct store {
    struct loop *loop;
    const struct conf *conf;
    struct worker *workers; /* n_workers for all tasks; of the others each has its own */
    struct worker *prompt_worker, *pulse_worker;
    unsigned n_workers, n_idle, n_waiting; /* n_idle: of those for all tasks */
    struct line prompt, other;
    struct db_hosts *hosts;
    struct loop_timer beat;
    struct store_state state;
    char cluster[40]; /* the one that was used first: nodes of another one are left alone */
    struct hosts_left left;
    bool is_told;      /* the state was judged once */
    bool is_pulse_due; /* something failed: ask at once */
    bool is_cut;       /* of this stall everything was cut already */
    int shunned;
    uint64_t looked_back_ms, back_since_ms; /* since when an earlier host is well; 0 = it is not */
    unsigned looked_at; /* the host that was asked last, while the one in use is behind the others */
    unsigned back_to;
    struct troubles troubles;
    uint64_t full_ms;                 /* when max_prepared_stmt_count last held up a duty; 0 = never */
    const struct db_refusal *refusal; /* of the op whose done callback runs */
};

const char *const session_state_name[SESSION_STATE_COUNT] = {"opening", "active", "closing", "closed",
                                                             "expired", "lost",   "migrated"};

/* ---- on a thread -------------------------------------------------------------------------------------------- */

struct link { /* a thread's connection and when it may be tried again */
    struct db *db;
    struct db_hosts *hosts;
    uint64_t again_ms;
    unsigned failures;
    int chosen; /* the host that failed */
};

static bool link_up(struct link *l)
{
    uint64_t now = clock_ms();
    int chosen = db_hosts_chosen(l->hosts);
    if (chosen == l->chosen ? l->again_ms > now : chosen == DB_NO_HOST)
        return false;
    l->chosen = chosen;
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

static void news_fill(struct news *n, const struct db *db, const struct db_counts *before)
{
    const struct db_counts *now = db_counts(db);
    n->refusal = *db_refusal(db);
    n->told = *db_refusal_told(db);
    n->failure = db_failure(db);
    snprintf(n->error, sizeof(n->error), "%s", n->failure ? db_error(db) : "");
    n->grown = (struct db_counts){.held = now->held,
                                  .evicted = now->evicted - before->evicted,
                                  .prepared_again = now->prepared_again - before->prepared_again,
                                  .refused = now->refused - before->refused,
                                  .torn = now->torn - before->torn,
                                  .caught_up = now->caught_up - before->caught_up,
                                  .aborted = now->aborted - before->aborted};
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    zsock_t *pipe = w->far_pipe;
    struct link l = {.db = w->db, .hosts = w->store->hosts};
    bool is_pulse = w == w->store->pulse_worker;
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
        bool is_up = is_pulse || link_up(&l);
        uint64_t begun_us = clock_us();
        struct db_counts before = *db_counts(l.db);
        db_news_clear(l.db);
        t->fn(is_up ? l.db : NULL, t->op);
        news_fill(&t->news, l.db, &before);
        t->news.up = is_up && db_is_open(l.db);
        if (!is_up)
            t->news.failure = DB_GONE;
        t->took_us = clock_us() - begun_us;
        HAND_OVER(t);
        frame = zframe_new(&t, sizeof(t));
        zframe_send(&frame, pipe, 0);
    }
    db_disconnect(l.db); /* here: what the library keeps for a thread goes with it */
    return NULL;
}

/* ---- on the loop -------------------------------------------------------------------------------------------- */

static void judge(struct store *s, enum db_state state, int host, const char *why)
{
    static const char *const word[] = {"up", "read_only", "down", "hung"};
    bool is_same = s->is_told && s->state.state == state && s->state.host == host;
    const char *name = host == DB_NO_HOST ? "" : db_host_at(s->hosts, (unsigned)host)->name;
    if (!is_same && (s->is_told || state != DB_STATE_UP))
        log_line(state == DB_STATE_UP ? LOG_INFO : LOG_WARN, "database", "to", word[state], "host", name, "why",
                 why, NULL);
    if (!is_same || !s->is_told)
        s->state.since_ms = clock_unix_ms();
    if (s->is_told && host != s->state.host && host != DB_NO_HOST)
        stat_inc(database_failovers_total);
    s->is_told = true;
    s->state.state = state;
    s->state.host = host == DB_NO_HOST ? s->state.host : host;
    snprintf(s->state.why, sizeof(s->state.why), "%s", why);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Of which kind a duty's failure is, for people; NULL = of none that is said. */
static const char *kind_of(enum db_rc rc, const char *error)
{
    switch (rc) {
    case DB_REFUSED:
        return "refused";
    case DB_RETRY:
        return begins(error, DB_TOO_MANY_STATEMENTS) ? "statements" : begins(error, DB_LOCKED) ? "held" : "busy";
    case DB_NOT_HERE:
        return "read_only";
    case DB_GONE:
        return "gone";
    case DB_FAIL:
        return "failed";
    case DB_OK:
    case DB_DUP:
    case DB_FORGOTTEN:
        break;
    }
    return NULL;
}

static void count(struct worker *w, const struct task *t)
{
    struct store *s = w->store;
    const struct news *n = &t->news;
    uint64_t now = clock_ms();
    char words[200];
    stat_add(database_statements_held, (int64_t)n->grown.held - (int64_t)w->held);
    w->held = n->grown.held;
    stat_add(database_statements_evicted_total, n->grown.evicted);
    stat_add(database_statements_prepared_again_total, n->grown.prepared_again);
    stat_add(database_refused_total, n->grown.refused);
    stat_add(database_torn_total, n->grown.torn);
    stat_add(database_aborted_total, n->grown.aborted);
    stat_add(database_caught_up_total, n->grown.caught_up);
    if (n->told.number) {
        db_refusal_words(&n->told, words, sizeof(words));
        char why[220];
        snprintf(why, sizeof(why), "%u %s", n->told.number, words);
        trouble_note(&s->troubles, t->duty, "refused", why, now);
    }
    const char *kind = kind_of(n->failure, n->error);
    if (kind && n->failure != DB_REFUSED) {
        stat_inc(database_ops_failed_total);
        trouble_note(&s->troubles, t->duty, kind, n->error, now);
        if (strcmp(kind, "statements") == 0)
            s->full_ms = now;
    } else if (!kind) {
        trouble_over(&s->troubles, t->duty, now);
    }
}

/* ---- the pulse ---------------------------------------------------------------------------------------------- */

static void give(struct worker *w, struct task *t);

/* Each host is named once, when it is found so. */
static void left_tell(const struct store *s, uint64_t now, uint64_t before, const char *why)
{
    for (unsigned i = 0; i < db_hosts_count(s->hosts) && i < 64; i++)
        if (now & ~before & UINT64_C(1) << i)
            log_line(LOG_WARN, "database_host_left", "host", db_host_at(s->hosts, i)->name, "why", why, NULL);
}

static void pulse_done(void *arg, void *op_arg)
{
    struct store *s = arg;
    struct store_pulse *op = op_arg;
    s->is_cut = false;
    left_tell(s, op->left.foreign, s->left.foreign, HOST_IS_FOREIGN);
    left_tell(s, op->left.bare, s->left.bare, HOST_IS_BARE);
    s->left = op->left;
    s->state.node = op->node;
    if (op->state == DB_STATE_UP && !s->cluster[0])
        snprintf(s->cluster, sizeof(s->cluster), "%s", op->node.cluster);
    if (op->state == DB_STATE_UP)
        s->shunned = -1;
    bool is_still_hung = op->state == DB_STATE_GONE && s->state.state == DB_STATE_HUNG && s->shunned >= 0;
    if (!is_still_hung)
        judge(s, op->state, op->host, op->why);
    free(op);
}

static void pulse_give(struct store *s)
{
    struct store_pulse *op = xcalloc(1, sizeof(*op));
    struct task *t = xcalloc(1, sizeof(*t));
    op->hosts = s->hosts;
    op->shunned = s->shunned;
    op->left = s->left;
    memcpy(op->cluster, s->cluster, sizeof(op->cluster));
    *t = (struct task){
        .duty = "store_pulse", .fn = store_pulse, .op = op, .done = pulse_done, .arg = s, .came_us = clock_us()};
    s->is_pulse_due = false;
    give(s->pulse_worker, t);
}

static void looked_back(void *arg, void *op_arg)
{
    struct store *s = arg;
    struct store_look_back *op = op_arg;
    uint64_t now = clock_ms();
    int chosen = db_hosts_chosen(s->hosts);
    bool is_behind = !db_node_is_synced(&s->state.node);
    if (op->is_well && is_behind && chosen != DB_NO_HOST) {
        db_hosts_choose(s->hosts, (int)op->host);
        s->is_pulse_due = true;
    } else if (!op->is_well || chosen == DB_NO_HOST || (int)op->host >= chosen) {
        s->back_since_ms = 0;
    } else if (!s->back_since_ms || s->back_to != op->host) {
        s->back_since_ms = now;
        s->back_to = op->host;
    } else if (now - s->back_since_ms >= (uint64_t)s->conf->db_back_after_s * 1000) {
        s->back_since_ms = 0;
        db_hosts_choose(s->hosts, (int)op->host); /* the others follow at their next op */
        s->is_pulse_due = true;
    }
    free(op);
}

/* The next one after `i` that is not the chosen one. */
static unsigned another(const struct store *s, unsigned i, unsigned chosen)
{
    unsigned n = db_hosts_count(s->hosts);
    do
        i = (i + 1) % n;
    while (i == chosen);
    return i;
}

/* Is the first host well again? Asked now and then while another one is used. While the node in use is behind the others: is one of those well? */
static bool look_back(struct store *s, uint64_t now)
{
    int chosen = db_hosts_chosen(s->hosts);
    bool is_behind = chosen != DB_NO_HOST && db_hosts_count(s->hosts) > 1 && !db_node_is_synced(&s->state.node);
    uint64_t every = is_behind ? BEHIND_MS : (uint64_t)s->conf->db_back_after_s * 250;
    if ((!is_behind && (chosen <= 0 || !s->conf->db_back_after_s)) ||
        now < s->looked_back_ms + (every < LOOK_BACK_MS ? every : LOOK_BACK_MS))
        return false;
    if (is_behind)
        s->looked_at = another(s, s->looked_at, (unsigned)chosen);
    struct store_look_back *op = xcalloc(1, sizeof(*op));
    struct task *t = xcalloc(1, sizeof(*t));
    *op = (struct store_look_back){.hosts = s->hosts, .conf = s->conf, .host = is_behind ? s->looked_at : 0};
    memcpy(op->cluster, s->cluster, sizeof(op->cluster));
    *t = (struct task){.duty = "store_look_back",
                       .fn = store_look_back,
                       .op = op,
                       .done = looked_back,
                       .arg = s,
                       .came_us = clock_us()};
    s->looked_back_ms = now;
    give(s->pulse_worker, t);
    return true;
}

/* The server is silent: what waits for it comes back now, and nothing waits for it again until the pulse is answered. */
static void stalled(struct store *s)
{
    int chosen = db_hosts_chosen(s->hosts);
    s->is_cut = true;
    s->shunned = chosen != DB_NO_HOST ? chosen : s->shunned;
    stat_inc(database_stalls_total);
    judge(s, DB_STATE_HUNG, DB_NO_HOST, "no answer to a harmless statement");
    db_hosts_choose(s->hosts, DB_NO_HOST);
    for (struct worker *w = s->workers; w <= s->pulse_worker; w++)
        if (w->task)
            db_cut(w->db);
}

/* One op that takes long on a server that answers is slow, no more: it is said and left alone. */
static void slow_look(struct store *s, uint64_t now)
{
    for (const struct worker *w = s->workers; w < s->pulse_worker; w++) {
        const struct task *t = w->task;
        if (t && now > t->given_ms + (uint64_t)s->conf->db_stall_ms)
            trouble_note(&s->troubles, t->duty, "slow", "", now);
    }
}

static void beat(void *arg)
{
    struct store *s = arg;
    struct worker *w = s->pulse_worker;
    uint64_t now = clock_ms();
    if (!w->task && (s->is_pulse_due || !look_back(s, now)))
        pulse_give(s);
    else if (w->task && w->task->fn == store_pulse && !s->is_cut &&
             now > w->task->given_ms + (uint64_t)s->conf->db_stall_ms)
        stalled(s);
    slow_look(s, now);
    loop_timer_in(s->loop, &s->beat, PULSE_MS);
}

static void line_add(struct line *l, struct task *t)
{
    *l->last = t;
    l->last = &t->next;
}

static struct task *line_take(struct line *l)
{
    struct task *t = l->first;
    if (t && !(l->first = t->next))
        l->last = &l->first;
    return t;
}

static bool is_for_all(const struct worker *w)
{
    return w < w->store->prompt_worker;
}

static void give(struct worker *w, struct task *t)
{
    w->task = t;
    t->given_ms = clock_ms();
    if (w != w->store->pulse_worker)
        stat_time(database_wait_seconds, clock_us() - t->came_us);
    if (is_for_all(w))
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
    bool is_pulse = w == s->pulse_worker;
    w->task = NULL;
    if (is_for_all(w))
        s->n_idle++;
    if (!is_pulse)
        count(w, t);
    if (!is_pulse && t->news.up)
        stat_time(database_op_seconds, t->took_us);
    if (!is_pulse && (t->news.failure == DB_GONE || t->news.failure == DB_NOT_HERE) && !s->pulse_worker->task)
        pulse_give(s);
    struct task *next = is_pulse ? NULL : line_take(&s->prompt);
    if (!next && is_for_all(w))
        next = line_take(&s->other);
    if (next) {
        s->n_waiting--;
        give(w, next);
    }
    s->refusal = &t->news.refusal;
    t->done(t->arg, t->op);
    s->refusal = NULL;
    free(t);
    return true;
}

static void worker_ready(void *arg, uint32_t events)
{
    struct worker *w = arg;
    (void)events;
    while (take_back(w))
        ;
    if (!w->task) /* what made the pipe keeps its descriptor ready until it is asked once */
        zsock_events(w->pipe);
}

/* The pipes' descriptors are edge-like: look once more before each sleep. */
static bool before_sleep(void *arg)
{
    struct store *s = arg;
    bool worked = false;
    for (struct worker *w = s->workers; w <= s->pulse_worker; w++)
        worked |= take_back(w);
    return worked;
}

struct store *store_new(struct loop *l, const struct conf *conf)
{
    struct store *s = xcalloc(1, sizeof(*s));
    s->loop = l;
    s->conf = conf;
    s->prompt.last = &s->prompt.first;
    s->other.last = &s->other.first;
    s->n_workers = s->n_idle = (unsigned)conf->dispatcher_db_threads;
    s->workers = xcalloc(s->n_workers + 2, sizeof(*s->workers));
    s->prompt_worker = &s->workers[s->n_workers];
    s->pulse_worker = s->prompt_worker + 1;
    s->hosts = db_hosts_new(conf);
    s->shunned = -1;
    for (struct worker *w = s->workers; w <= s->pulse_worker; w++) {
        w->store = s;
        w->db = db_new_on(conf, s->hosts);
        w->pipe = zsys_create_pipe(&w->far_pipe);
        CHECK(w->pipe && pthread_create(&w->thread, NULL, thread_main, w) == 0, "a database thread");
        w->watch = loop_fd_add(l, zsock_fd(w->pipe), EPOLLIN, worker_ready, w);
    }
    loop_hook(l, before_sleep, s);
    s->beat.fn = beat;
    s->beat.arg = s;
    beat(s);
    return s;
}

/* Ops that were under way at the end, whose owners take them back no more. Their memory goes with the process. */
static struct task *left_behind;

static void leave_behind(struct task *t)
{
    if (t->fn == store_pulse || t->fn == store_look_back) { /* ours */
        free(t->op);
        free(t);
        return;
    }
    t->next = left_behind;
    left_behind = t;
}

/* Joined, which a zactor is not: what libraries keep for a thread is freed after its last line. */
static void worker_end(struct worker *w)
{
    zframe_t *end = zframe_new(NULL, 0);
    CHECK(zframe_send(&end, w->pipe, 0) == 0, "pipe to a database thread");
    pthread_join(w->thread, NULL);
    zsock_destroy(&w->far_pipe);
    zsock_destroy(&w->pipe);
    if (w->task)
        leave_behind(w->task);
    db_destroy(&w->db);
}

void store_destroy(struct store **sp)
{
    struct store *s = *sp;
    if (!s)
        return;
    loop_unhook(s->loop, before_sleep, s);
    loop_timer_stop(s->loop, &s->beat);
    for (struct worker *w = s->workers; w <= s->pulse_worker; w++) {
        loop_fd_remove(s->loop, &w->watch);
        worker_end(w);
    }
    for (struct task *t; (t = line_take(&s->prompt)) || (t = line_take(&s->other));)
        leave_behind(t);
    free(s->workers);
    db_hosts_destroy(&s->hosts);
    free(s);
    *sp = NULL;
}

/* An idle thread for such a task; NULL = none. */
static struct worker *idle_one(struct store *s, bool is_prompt)
{
    if (is_prompt && !s->prompt_worker->task)
        return s->prompt_worker;
    for (struct worker *w = s->workers; is_for_all(w); w++)
        if (!w->task)
            return w;
    return NULL;
}

static void submit(struct store *s, struct task task)
{
    struct task *t = xcalloc(1, sizeof(*t));
    *t = task;
    loop_wake(
        s->loop); /* a hook that runs after ours may submit it: before_sleep() looks again, or no edge comes */
    struct worker *w = idle_one(s, t->is_prompt);
    if (w) {
        give(w, t);
        return;
    }
    line_add(t->is_prompt ? &s->prompt : &s->other, t);
    s->n_waiting++;
}

void store_submit_duty(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done, void *arg)
{
    submit(s, (struct task){.duty = duty, .fn = fn, .op = op, .done = done, .arg = arg, .came_us = clock_us()});
}

void store_submit_prompt(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done, void *arg)
{
    submit(
        s,
        (struct task){
            .duty = duty, .fn = fn, .op = op, .done = done, .arg = arg, .came_us = clock_us(), .is_prompt = true});
}

const struct db_refusal *store_refusal(const struct store *s)
{
    return s->refusal && s->refusal->number ? s->refusal : NULL;
}

bool store_is_up(const struct store *s)
{
    return s->state.state == DB_STATE_UP && s->is_told;
}

bool store_is_full(const struct store *s)
{
    return s->full_ms && clock_ms() < s->full_ms + FULL_MS;
}

struct store_state store_state(const struct store *s)
{
    return s->state;
}

void store_node_text(const struct store *s, char out[NODE_TEXT_MAX + 1])
{
    const struct db_node *node = &s->state.node;
    int len = snprintf(out, NODE_TEXT_MAX + 1, "%.200s\t%s\t%u\t%u\t", store_host(s), node->state, node->size,
                       db_hosts_count(s->hosts));
    for (unsigned i = 0; i < db_hosts_count(s->hosts) && i < 64 && len < NODE_TEXT_MAX; i++) {
        uint64_t bit = UINT64_C(1) << i;
        const char *kind = s->left.foreign & bit ? "foreign" : s->left.bare & bit ? "bare" : NULL;
        const char *name = db_host_at(s->hosts, i)->name;
        if (kind && len + strlen(kind) + strlen(name) + 2 <= NODE_TEXT_MAX)
            len += snprintf(out + len, (size_t)(NODE_TEXT_MAX + 1 - len), "%s %s,", kind, name);
    }
}

const char *store_host(const struct store *s)
{
    return db_host_at(s->hosts, (unsigned)s->state.host)->name;
}

void store_troubles(const struct store *s, char out[TROUBLE_TEXT_MAX + 1])
{
    trouble_text(&s->troubles, clock_ms(), out);
}

void store_duty_over(struct store *s, const char *duty)
{
    trouble_over(&s->troubles, duty, clock_ms());
}

unsigned store_waiting(const struct store *s)
{
    return s->n_waiting;
}

unsigned store_idle_threads(const struct store *s)
{
    return s->n_idle;
}
