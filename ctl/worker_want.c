/* SPDX-License-Identifier: MIT */
/*
 * worker_want.c - `chasqui worker drain, resume, disable, enable, set`: what an
 * operator wants of a robot that is known. Every change raises the revision in
 * its transaction, so that dispatchers read the list again.
 */
#include "ctl/ctl.h"

#include "common/clock.h"
#include "ctl/progress.h"
#include "db/robot_row.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define URL_ROOM 256

struct want {
    const char *actor, *name, *wanted;
    uint64_t deadline_s; /* from now; of a drain, with has_deadline */
    bool has_deadline;
    const char *reason; /* NULL = none */
    char before[16];    /* "" = there is no such robot */
    bool force;         /* of disabling: though it holds sessions */
    uint64_t sessions, movable;
    char why[400];
};

static enum db_rc want_tx(struct db *db, void *arg)
{
    struct want *w = arg;
    char detail[100 + REASON_BYTES_MAX];
    w->before[0] = w->why[0] = 0;
    TRY(db_query(db, "SELECT wanted, id FROM chasqui_robots WHERE name = ? AND removed = 0 FOR UPDATE", "s",
                 w->name));
    if (!db_next(db))
        return DB_OK;
    db_str_copy(db, 0, w->before, sizeof(w->before));
    uint64_t robot_id = db_u64(db, 1);
    TRY(db_query(
        db,
        "SELECT COUNT(*), COUNT(c.portal) FROM chasqui_sessions s LEFT JOIN chasqui_credentials c ON c.company_id "
        "= s.company_id AND c.portal = s.portal WHERE s.robot_id = ? AND s.live = 1",
        "u", robot_id));
    if (db_next(db)) {
        w->sessions = db_u64(db, 0);
        w->movable = db_u64(db, 1);
    }
    if (strcmp(w->before, w->wanted) == 0 && !w->has_deadline)
        return DB_OK;
    if (strcmp(w->wanted, "disabled") == 0) {
        struct robot_row_change rest = {.name = w->name};
        TRY(robot_row_may_rest(db, &rest, w->force));
        robot_row_words(&rest, w->why, sizeof(w->why));
        if (*w->why)
            return DB_DUP;
    }
    TRY(robot_row_want(db, robot_id, w->wanted, w->has_deadline, w->deadline_s * 1000));
    snprintf(detail, sizeof(detail), "%s -> %s", w->before, w->wanted);
    if (w->has_deadline)
        snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail), " within %llu s",
                 (unsigned long long)w->deadline_s);
    if (w->reason)
        snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail), ": %s", w->reason);
    return ctl_audit(db, w->actor, "worker_want", w->name, detail);
}

static enum ctl_exit want(struct ctl *c, struct want *w)
{
    w->actor = c->actor;
    w->name = c->args.word[0];
    if (!args_worker_name(c, w->name) || !args_reason(c, &w->reason))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, want_tx, NULL, w, w->why);
    if (code != CTL_DONE)
        return code;
    return w->before[0] ? CTL_DONE : ctl_fail(c, "there is no robot %s", w->name);
}

/* ---- waiting until it is empty ------------------------------------------------------------------------------ */

#define LOOK_EVERY_MS 1000
#define TRIES_MAX 60 /* looks in a row that the database does not answer */

static volatile sig_atomic_t is_told_to_end;

static void told_to_end(int number)
{
    (void)number;
    is_told_to_end = 1;
}

struct left {
    char wanted[16]; /* "" = the robot is gone */
    uint64_t sessions, abandoned, movable, moving;
};

static enum db_rc left_read(struct db *db, const char *name, struct left *left)
{
    *left = (struct left){0};
    TRY(db_query(
        db,
        "SELECT r.wanted, (SELECT COUNT(*) FROM chasqui_sessions s WHERE s.robot_id = r.id AND s.live = 1), (SELECT COUNT(*) FROM "
        "chasqui_sessions a WHERE a.close_pending = 1 AND a.robot_id = r.id), (SELECT COUNT(*) FROM chasqui_sessions s JOIN "
        "chasqui_credentials c ON c.company_id = s.company_id AND c.portal = s.portal WHERE s.robot_id = r.id AND s.live = 1), (SELECT "
        "COUNT(*) FROM chasqui_sessions s JOIN chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.robot_id = r.id AND s.live = 1) "
        "FROM chasqui_robots r WHERE r.name = ? AND r.removed = 0",
        "s", name));
    if (!db_next(db))
        return DB_OK;
    db_str_copy(db, 0, left->wanted, sizeof(left->wanted));
    left->sessions = db_u64(db, 1);
    left->abandoned = db_u64(db, 2);
    left->movable = db_u64(db, 3);
    left->moving = db_u64(db, 4);
    return DB_OK;
}

/* How many are left of how many, and when the last one will have gone at this pace. */
static void left_show(struct progress *p, uint64_t at_first, const struct left *left, uint64_t waited_ms)
{
    char details[160], a[TEXT_AMOUNT], b[TEXT_NUMBER];
    uint64_t most = at_first > left->sessions ? at_first : left->sessions, gone = most - left->sessions;
    snprintf(details, sizeof(details), "%s left, %s with stored credentials",
             amount_text(left->sessions, "session", a), number_text(left->movable, b));
    if (left->moving)
        snprintf(details + strlen(details), sizeof(details) - strlen(details), ", %s moving",
                 number_text(left->moving, b));
    if (gone >= 3 && left->sessions)
        snprintf(details + strlen(details), sizeof(details) - strlen(details), ", about %s more",
                 duration_text(waited_ms * left->sessions / gone / 1000, b));
    progress_part(p, gone, most, details);
}

static enum ctl_exit wait_end(struct ctl *c, const char *name, const struct left *left)
{
    char text[TEXT_AMOUNT];
    if (!*left->wanted)
        return ctl_fail(c, "robot %s was removed meanwhile", name);
    if (strcmp(left->wanted, "draining") != 0 && left->sessions)
        return ctl_fail(c, "robot %s is %s now: somebody else changed it; %s left", name, left->wanted,
                        amount_text(left->sessions, "session", text));
    if (left->sessions)
        return ctl_fail(c, "the watching ended; robot %s goes on draining: %s left", name,
                        amount_text(left->sessions, "session", text));
    if (left->abandoned)
        return ctl_say(c, "robot %s is empty; %s may still live on it: it could not be reached", name,
                       amount_text(left->abandoned, "session", text));
    return ctl_say(c, "robot %s is empty", name);
}

static enum ctl_exit wait_empty(struct ctl *c, const char *name, uint64_t at_first)
{
    struct sigaction act = {.sa_handler = told_to_end};
    struct progress p;
    struct left left;
    unsigned failures = 0;
    uint64_t began_ms = clock_ms();
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    progress_begin(&p);
    for (;;) {
        enum db_rc rc = db_ready(c->db);
        if (rc == DB_OK)
            rc = left_read(c->db, name, &left);
        failures = rc ? failures + 1 : 0;
        if (failures > TRIES_MAX) {
            progress_end(&p);
            return ctl_db_fail(c, rc);
        }
        if (!rc && (!left.sessions || strcmp(left.wanted, "draining") != 0))
            break;
        if (!rc)
            left_show(&p, at_first, &left, clock_ms() - began_ms);
        if (is_told_to_end && !rc)
            break;
        poll(NULL, 0, LOOK_EVERY_MS);
    }
    progress_end(&p);
    return wait_end(c, name, &left);
}

/* ---- the commands ------------------------------------------------------------------------------------------- */

enum ctl_exit worker_drain(struct ctl *c)
{
    struct want w = {.wanted = "draining"};
    char text[TEXT_AMOUNT];
    const char *deadline = args_value(&c->args, OPT_DEADLINE);
    if (deadline && !args_duration(c, "--deadline", deadline, AHEAD_DAYS_MAX, &w.deadline_s))
        return CTL_USAGE;
    w.has_deadline = deadline != NULL;
    enum ctl_exit code = want(c, &w);
    if (code != CTL_DONE)
        return code;
    if (c->args.n[OPT_WAIT])
        return wait_empty(c, w.name, w.sessions);
    const char *was = strcmp(w.before, w.wanted) == 0 && !w.has_deadline ? "was draining already" : "is draining";
    if (!w.sessions)
        return ctl_say(c, "robot %s %s, and holds no session", w.name, was);
    return ctl_say(c, "robot %s %s: of its %s %llu can move to other robots, %llu must be waited for", w.name, was,
                   amount_text(w.sessions, "session", text), (unsigned long long)w.movable,
                   (unsigned long long)(w.sessions - w.movable));
}

enum ctl_exit worker_resume(struct ctl *c)
{
    struct want w = {.wanted = "active"};
    enum ctl_exit code = want(c, &w);
    if (code != CTL_DONE)
        return code;
    return ctl_say(c, strcmp(w.before, w.wanted) == 0 ? "robot %s was %s already" : "robot %s is %s", w.name,
                   w.wanted);
}

enum ctl_exit worker_enable(struct ctl *c)
{
    return worker_resume(c);
}

enum ctl_exit worker_disable(struct ctl *c)
{
    struct want w = {.wanted = "disabled", .force = c->args.n[OPT_FORCE] > 0};
    char text[TEXT_AMOUNT];
    enum ctl_exit code = want(c, &w);
    if (code != CTL_DONE)
        return code;
    if (strcmp(w.before, w.wanted) == 0)
        return ctl_say(c, "robot %s was disabled already", w.name);
    if (w.sessions)
        return ctl_say(c, "robot %s is disabled; nobody probes it, and it holds %s", w.name,
                       amount_text(w.sessions, "session", text));
    return ctl_say(c, "robot %s is disabled", w.name);
}

/* ---- set ---------------------------------------------------------------------------------------------------- */

struct set {
    const char *actor, *reason;
    char base_url[URL_ROOM], viewer_url[URL_ROOM];
    struct robot_row_change row;
    char why[400];
};

static enum db_rc set_tx(struct db *db, void *arg)
{
    struct set *w = arg;
    struct buf detail = {0};
    enum db_rc rc = robot_row_set(db, &w->row);
    robot_row_words(&w->row, w->why, sizeof(w->why));
    TRY(rc);
    if (*w->why)
        return DB_DUP;
    if (!w->row.is_changed)
        return DB_OK;
    buf_addf(&detail, "%s%s%s", w->row.detail, w->reason ? ": " : "", w->reason ? w->reason : "");
    rc = ctl_audit(db, w->actor, "worker_set", w->row.name, detail.data);
    buf_free(&detail);
    return rc;
}

/* "auto": what the robot reports. */
static bool capacity_read(struct ctl *c, struct set *w)
{
    const char *text = args_value(&c->args, OPT_CAPACITY);
    w->row.has_capacity = text != NULL;
    if (!text || strcmp(text, "auto") == 0)
        return true;
    return args_number(c, "--capacity (or auto)", text, 1, ROBOT_CAPACITY_MAX, &w->row.capacity);
}

static bool urls_read(struct ctl *c, struct set *w)
{
    const char *viewer = args_value(&c->args, OPT_VIEWER_URL);
    bool is_none = viewer && strcmp(viewer, "none") == 0;
    if (!args_url(c, OPT_BASE_URL, w->base_url, sizeof(w->base_url)) ||
        (!is_none && !args_url(c, OPT_VIEWER_URL, w->viewer_url, sizeof(w->viewer_url))))
        return false;
    w->row.base_url = args_value(&c->args, OPT_BASE_URL) ? w->base_url : NULL;
    w->row.viewer_url = viewer ? w->viewer_url : NULL;
    return true;
}

enum ctl_exit worker_set(struct ctl *c)
{
    struct set w = {.actor = c->actor, .row = {.name = c->args.word[0]}};
    if (!args_worker_name(c, w.row.name) || !args_reason(c, &w.reason) || !urls_read(c, &w) ||
        !capacity_read(c, &w))
        return CTL_USAGE;
    if (!w.row.base_url && !w.row.viewer_url && !w.row.has_capacity)
        return ctl_usage(c, "nothing is to be changed: give --capacity, --base-url or --viewer-url");
    enum ctl_exit code = ctl_tx(c, set_tx, NULL, &w, w.why);
    if (code != CTL_DONE)
        return code;
    char stays[100] = "";
    if (w.row.stays)
        snprintf(stays, sizeof(stays), "; stays %llu: the robot reports %llu", (unsigned long long)w.row.stays,
                 (unsigned long long)w.row.stays);
    if (!w.row.is_changed)
        return ctl_say(c, "robot %s is like that already%s", w.row.name, stays);
    return ctl_say(c, "robot %s: %s%s", w.row.name, w.row.detail, stays);
}
