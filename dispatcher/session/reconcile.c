/* SPDX-License-Identifier: MIT */
/*
 * reconcile.c - compares each robot's own session list with ours, in both directions.
 *
 * Finds out which optional calls a robot supports. Ends sessions that the robot has lost. Closes on the robot the
 * sessions left behind there (close pending), and sessions of ours without an owner. Must never touch a session
 * that is not ours: Laravel's session may not be adopted yet. A session must look wrong twice, a run apart, before
 * anything is done about it.
 */
#include "dispatcher/session/reconcile.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robot_list.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define EVERY_SWEEPS 20
#define AT_ONCE 8
#define SUSPECTS_MAX 256

struct suspect {                      /* looked wrong in the last run */
    uint64_t ref;                     /* our row, missing on the robot; or 0 */
    char session_id[SESSION_ID_ROOM]; /* the robot's session that is unknown to us */
};

struct watch {
    uint32_t robot_id;
    uint64_t due_ms;
    bool busy;
    unsigned abandoned, orphans;
    struct suspect *suspect;
    unsigned n_suspects;
    struct watch *next;
};

struct reconciler {
    struct watch *first;
    unsigned n_busy;
};

struct reconciler *reconciler_new(struct dispatcher *d)
{
    (void)d;
    return xcalloc(1, sizeof(struct reconciler));
}

void reconciler_destroy(struct reconciler **rp)
{
    for (struct watch *w; *rp && (w = (*rp)->first);) {
        (*rp)->first = w->next;
        free(w->suspect);
        free(w);
    }
    free(*rp);
    *rp = NULL;
}

static struct watch *watch_of(struct dispatcher *d, uint32_t robot_id)
{
    struct watch *w = d->reconciler->first;
    while (w && w->robot_id != robot_id)
        w = w->next;
    if (!w) {
        w = xcalloc(1, sizeof(*w));
        w->robot_id = robot_id;
        w->next = d->reconciler->first;
        d->reconciler->first = w;
    }
    return w;
}

void reconcile_robot(struct dispatcher *d, uint32_t robot_id)
{
    watch_of(d, robot_id)->due_ms = 0;
    d->news->tick_wanted(d);
}

/* ---- what was left behind ----------------------------------------------------------------------------------- */

struct fencing {
    struct dispatcher *d;
    struct session_row row;
    uint32_t robot_id;
};

static void pending_ended(const struct fencing *f);
static void pending_close(struct dispatcher *d, const struct robot *robot, const struct session_row *row);

static void pending_freed(void *arg, void *op_arg)
{
    struct store_pending_done *op = op_arg;
    if (op->ok)
        peers_wake(arg, "place");
    free(op);
}

void abandoned_free(struct dispatcher *d, uint64_t session_ref)
{
    struct store_pending_done *op = xcalloc(1, sizeof(*op));
    op->session_ref = session_ref;
    store_submit(d->store, store_pending_done, op, pending_freed, d);
}

static void fenced(void *arg, struct call_answer *a)
{
    struct fencing *f = arg;
    robots_boot_seen(f->d, f->robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    enum told told = robots_told_fenced(f->d, f->robot_id, a, f->row.epoch);
    if (told == TOLD_YES)
        pending_ended(f);
    const struct robot *robot = robot_by_id(f->d, f->robot_id);
    if (told == TOLD_NOT_SPOKEN && robot)
        pending_close(f->d, robot, &f->row);
    free(f);
}

static void pending_ended(const struct fencing *f)
{
    log_line(LOG_INFO, "abandoned_session_closed", "session_ref", log_i((long long)f->row.ref), NULL);
    abandoned_free(f->d, f->row.ref);
}

static void pending_fence(struct dispatcher *d, const struct robot *robot, const struct session_row *row)
{
    struct fencing *f = xcalloc(1, sizeof(*f));
    *f = (struct fencing){d, *row, robot->id};
    robot_call_fence(d, robot, row->company_id, row->portal, row->epoch, (struct call_ids){0}, fenced, f);
}

/* Without fence and close, all that can be done is to wait until no log-in of ours can still begin there. */
static void pending_wait_out(struct dispatcher *d, const struct session_row *row)
{
    if (row->age_ms > d->conf->timeout_login_ms)
        abandoned_free(d, row->ref);
}

static void pending_closed(void *arg, struct call_answer *a)
{
    struct fencing *f = arg;
    robots_boot_seen(f->d, f->robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    enum told told = robots_told_closed(f->d, f->robot_id, a);
    if (told == TOLD_YES)
        pending_ended(f);
    else if (told == TOLD_NOT_SPOKEN)
        pending_wait_out(f->d, &f->row);
    free(f);
}

/* Without fence the session itself is closed, if its id is known. */
static void pending_close(struct dispatcher *d, const struct robot *robot, const struct session_row *row)
{
    if (!row->session_id[0] || robot->speaks.close.known == 0) {
        pending_wait_out(d, row);
        return;
    }
    struct fencing *f = xcalloc(1, sizeof(*f));
    *f = (struct fencing){d, *row, robot->id};
    robot_call_close(d, robot, row->session_id, (struct call_ids){0}, pending_closed, f);
}

static void op_freed(void *arg, void *op)
{
    (void)arg;
    free(op);
}

static void fade(struct dispatcher *d, const struct robot *robot)
{
    struct store_fade *op = xcalloc(1, sizeof(*op));
    op->robot_id = robot->id;
    op->robot_count = robot->sessions;
    op->idle_ms = d->conf->session_idle_timeout_s * 1000;
    store_submit(d->store, store_fade, op, op_freed, d);
}

/* ---- missing on the robot ----------------------------------------------------------------------------------- */

static void missing_ended(void *arg, void *op_arg)
{
    struct store_session_end *op = op_arg;
    struct dispatcher *d = arg;
    if (op->rc == STORE_OK && op->ok) {
        stat_inc(sessions_expired_total);
        log_line(LOG_INFO, "session", "job", log_i((long long)op->row.job_id), "to", "expired", "why",
                 "not_on_robot", NULL);
        peers_event(d, "session", op->row.job_id, op->row.company_id, "expired");
        peers_wake(d, "place");
    }
    free(op);
}

static void missing_end(struct dispatcher *d, const struct session_row *row)
{
    struct store_session_end *op = xcalloc(1, sizeof(*op));
    op->session_ref = row->ref;
    op->epoch = row->epoch;
    op->to = SESSION_EXPIRED;
    strcpy(op->reason, "not_on_robot");
    op->place = PLACE_FREE;
    store_submit(d->store, store_session_end, op, missing_ended, d);
}

/* ---- unknown to us ------------------------------------------------------------------------------------------ */

struct stray {
    struct dispatcher *d;
    uint32_t robot_id;
    char session_id[SESSION_ID_ROOM];
};

static void stray_closed(void *arg, struct call_answer *a)
{
    (void)arg, (void)a;
}

/* It is ours only if its job is in our database and does not hold the company's live session. */
static void stray_judged(void *arg, void *op_arg)
{
    struct stray *s = arg;
    struct store_job *op = op_arg;
    const struct robot *robot = robot_by_id(s->d, s->robot_id);
    bool ours = op->rc == STORE_OK && op->found && op->kind[0] && op->terminal && robot &&
                !(op->session_ref && strcmp(op->session.session_id, s->session_id) == 0 &&
                  (op->session.state == SESSION_ACTIVE || op->session.state == SESSION_CLOSING));
    if (ours) {
        robot_call_close(s->d, robot, s->session_id, (struct call_ids){0}, stray_closed, NULL);
        log_line(LOG_WARN, "stray_session_closed", "job", op->job_uid, "robot", robot->name, NULL);
    }
    buf_free(&op->json);
    free(op);
    free(s);
}

static void stray_close(struct dispatcher *d, uint32_t robot_id, const struct jv *entry)
{
    const char *uid = jv_str(jv_get(entry, "job_uid"));
    struct stray *s = xcalloc(1, sizeof(*s));
    struct store_job *op = xcalloc(1, sizeof(*op));
    s->d = d;
    s->robot_id = robot_id;
    strcpy(s->session_id, jv_str(jv_get(entry, "session_id")));
    strcpy(op->job_uid, uid);
    store_submit(d->store, store_job, op, stray_judged, s);
}

/* ---- one run over one robot --------------------------------------------------------------------------------- */

static bool was_suspect(const struct watch *w, uint64_t ref, const char *session_id)
{
    for (unsigned i = 0; i < w->n_suspects; i++)
        if (ref ? w->suspect[i].ref == ref
                : !w->suspect[i].ref && strcmp(w->suspect[i].session_id, session_id) == 0)
            return true;
    return false;
}

static void suspect_add(struct suspect *list, unsigned *n, uint64_t ref, const char *session_id)
{
    if (*n == SUSPECTS_MAX)
        return;
    list[*n].ref = ref;
    str_copy(list[*n].session_id, sizeof(list[*n].session_id), str_of(session_id));
    ++*n;
}

/* A list proves nothing about a session of another boot. A list shorter than the robot's own count proves nothing
 * either: it may be one page, or the server may answer [] to everything. */
static bool is_missing(const struct robot_list *list, const struct session_row *row)
{
    bool is_of_another = list->boot_id[0] && row->boot_id[0] && strcmp(list->boot_id, row->boot_id) != 0;
    return list->state == LIST_OK && list->is_whole && !is_of_another && !robot_list_entry(list, row);
}

static void rows_compare(struct dispatcher *d, struct watch *w, const struct robot *robot,
                         const struct robot_list *list, struct suspect *now, unsigned *n)
{
    bool fading = false;
    w->abandoned = 0;
    for (unsigned i = 0; i < list->n_rows; i++) {
        const struct session_row *row = &list->rows[i];
        fading |= row->remains == REMAINS_FADING;
        if (row->remains == REMAINS_PENDING) {
            w->abandoned++;
            if (list->state != LIST_UNREACHABLE && robot->speaks.fence.known != 0)
                pending_fence(d, robot, row);
            else if (list->state != LIST_UNREACHABLE)
                pending_close(d, robot, row);
        } else if (row->state == SESSION_ACTIVE && !row->migrating && is_missing(list, row)) {
            if (was_suspect(w, row->ref, ""))
                missing_end(d, row);
            else
                suspect_add(now, n, row->ref, "");
        }
    }
    if (fading)
        fade(d, robot);
}

static void entries_compare(struct dispatcher *d, struct watch *w, const struct robot_list *list,
                            struct suspect *now, unsigned *n)
{
    w->orphans = 0;
    for (size_t i = 0; i < jv_len(list->sessions); i++) {
        const struct jv *e = jv_at(list->sessions, i);
        const char *id = jv_str(jv_get(e, "session_id")), *uid = jv_str(jv_get(e, "job_uid"));
        if (!id || strlen(id) >= SESSION_ID_ROOM || robot_list_row(list, e))
            continue;
        w->orphans++;
        if (!uid || !id_job_uid_ok(uid, strlen(uid)) || strlen(uid) >= ID_JOB_UID_BYTES)
            continue; /* not created by us: left alone */
        if (was_suspect(w, 0, id))
            stray_close(d, list->robot_id, e);
        else
            suspect_add(now, n, 0, id);
    }
}

static void compared(struct dispatcher *d, void *arg, const struct robot_list *list)
{
    struct watch *w = arg;
    const struct robot *robot = robot_by_id(d, list->robot_id);
    w->busy = false;
    d->reconciler->n_busy--;
    w->due_ms = clock_ms() + (uint64_t)d->conf->session_sweep_ms * EVERY_SWEEPS;
    if (!robot)
        return;
    if (!list->rows_known || robot->is_two) /* each of two processes has its own list */
        return;
    struct suspect *now = xcalloc(SUSPECTS_MAX, sizeof(*now));
    unsigned n = 0;
    rows_compare(d, w, robot, list, now, &n);
    if (list->state == LIST_OK)
        entries_compare(d, w, list, now, &n);
    free(w->suspect);
    w->suspect = now;
    w->n_suspects = n;
    if (w->abandoned) /* that robot gets no new log-ins until they are closed */
        w->due_ms = clock_ms() + (uint64_t)d->conf->session_sweep_ms;
}

static void due_run(struct dispatcher *d, const struct robot *robot, void *arg)
{
    struct watch *w = watch_of(d, robot->id);
    (void)arg;
    if (w->busy || clock_ms() < w->due_ms || d->reconciler->n_busy >= AT_ONCE ||
        robot->last_judged == VERDICT_DOWN)
        return;
    w->busy = true;
    d->reconciler->n_busy++;
    robot_list_get(d, robot->id, compared, w);
}

void reconcile_tick(struct dispatcher *d)
{
    unsigned abandoned = 0, orphans = 0;
    robots_each(d, due_run, NULL);
    for (struct watch *w = d->reconciler->first; w; w = w->next) {
        abandoned += w->abandoned;
        orphans += w->orphans;
    }
    stat_set(abandoned_sessions, abandoned);
    stat_set(robot_orphans, orphans);
}
