/*
 * store_claim.c - claiming queued work: many items in one short transaction
 * that also reserves their robots' places.
 *
 * Owns nothing; runs on database threads. Each step is one statement for all
 * items of the claim. Items, places and the epoch rows of companies are taken
 * with SKIP LOCKED, so that claims of many dispatchers pass by each other and a
 * claim never waits for a log-in. Everything is committed before a robot is
 * called (invariant 7).
 */
#include "dispatcher/store_queue.h"
#include "dispatcher/store_sql.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACK_MS 300 /* an item whose company is busy comes back after this, and as much again at random */
#define LIMIT_MS 120000 /* of an action that is not configured any more */

enum fate {
    FATE_GO,     /* begins now */
    FATE_MEET,   /* its company has an active session: done */
    FATE_BACK,   /* its company is being logged in, closed or moved: later */
    FATE_CANCEL, /* its batch or job was cancelled */
    FATE_LEAVE   /* no place after all: stays as it is */
};

struct item {
    enum fate fate;
    uint64_t batch_id, idx, company_id, token_id;
    uint64_t job_id; /* 0 = its portal_jobs row is made here */
    bool is_new;
    uint8_t priority;
    uint32_t attempts, tries, generation;
    bool remember;
    char portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES], request_id[129];
    struct buf params, credentials;
    uint64_t created_s, epoch, session_ref;
    int64_t waited_ms; /* since it could have begun */
    bool has_epoch;
    uint32_t robot_id, slot;
    char worker[NAME_ROOM];
    uint64_t met_job_id, met_ref;
    char met_session_id[SESSION_ID_ROOM];
};

struct claim {
    struct store_claim *op;
    struct item item[QUEUE_CLAIM_MAX];
    unsigned n;
    struct item *row[QUEUE_CLAIM_MAX]; /* those of the statement that is being filled */
    unsigned n_rows;
    struct load load[CANDIDATES_MAX];
    unsigned room[CANDIDATES_MAX]; /* of load[i]: queued log-ins that it may be given */
    unsigned n_loads;
};

static void items_forget(struct claim *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        buf_free(&c->item[i].params);
        buf_free(&c->item[i].credentials);
    }
    memset(c->item, 0, sizeof(c->item));
    c->n = 0;
}

static void column_bytes(struct db *db, unsigned col, struct buf *out)
{
    size_t len;
    const char *data = db_str(db, col, &len);
    buf_clear(out);
    if (data)
        buf_add(out, data, len);
}

/* Rows for the next bulk statement. */
static unsigned choose(struct claim *c, enum fate fate, int is_new /* -1 = any */)
{
    c->n_rows = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (c->item[i].fate == fate && (is_new < 0 || c->item[i].is_new == (is_new != 0)))
            c->row[c->n_rows++] = &c->item[i];
    return c->n_rows;
}

/* The values of a member of the chosen rows, for IN (...). */
#define GATHER(c, member, out)                          \
    do {                                                \
        for (unsigned g_ = 0; g_ < (c)->n_rows; g_++)   \
            (out)[g_] = (c)->row[g_]->member;           \
    } while (0)

static struct item *row_of_job(struct claim *c, uint64_t job_id)
{
    for (unsigned i = 0; i < c->n_rows; i++)
        if (c->row[i]->job_id == job_id)
            return c->row[i];
    return NULL;
}

/* ---- what there is room for -------------------------------------------------------------------------------------------- */

static enum db_rc room_read(struct db *db, struct claim *c, unsigned *room)
{
    struct store_claim *op = c->op;
    *room = 0;
    TRY(loads_read(db, op->candidate, op->n_candidates, c->load, &c->n_loads));
    if (!c->n_loads)
        return DB_OK;
    for (unsigned i = 0; i < c->n_loads; i++) {
        struct load *l = &c->load[i];
        uint64_t used = l->used;
        if (l->over)
            TRY(load_count_locked(db, l->robot_id, &used));
        uint64_t usable = l->capacity - (uint64_t)l->capacity * op->kept_back_percent / 100;
        c->room[i] = usable > used ? (unsigned)(usable - used) : 0;
        if (c->room[i] > op->logins_per_robot)
            c->room[i] = op->logins_per_robot;
    }
    TRY(db_query(db, "SELECT robot_id, COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' AND robot_id IS NOT NULL "
                     "GROUP BY robot_id", ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_loads; i++)
            if (c->load[i].robot_id == db_u64(db, 0)) {
                uint64_t opening = db_u64(db, 1), most = op->logins_per_robot;
                unsigned left = most > opening ? (unsigned)(most - opening) : 0;
                if (c->room[i] > left)
                    c->room[i] = left;
            }
    for (unsigned i = 0; i < c->n_loads; i++)
        *room += c->room[i];
    return DB_OK;
}

/* ---- the items ------------------------------------------------------------------------------------------------------------ */

static enum db_rc items_lock(struct db *db, struct claim *c, unsigned most)
{
    TRY(db_query(db,
                 "SELECT batch_id, idx, company_id, job_id, urgency, params FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 "
                 "ORDER BY urgency, turn LIMIT ? FOR UPDATE SKIP LOCKED",
                 "u", (uint64_t)most));
    while (c->n < QUEUE_CLAIM_MAX && db_next(db)) {
        struct item *it = &c->item[c->n++];
        it->batch_id = db_u64(db, 0);
        it->idx = db_u64(db, 1);
        it->company_id = db_u64(db, 2);
        it->job_id = db_u64(db, 3);
        it->is_new = it->job_id == 0;
        it->priority = (uint8_t)(9 - db_u64(db, 4));
        it->tries = c->op->tries;
        it->generation = 1;
        column_bytes(db, 5, &it->params);
    }
    return DB_OK;
}

static enum db_rc batches_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (!choose(c, FATE_GO, 1))
        return DB_OK;
    GATHER(c, batch_id, ids);
    TRY(db_query_in_u64(db, "SELECT id, portal, action, status, token_id, request_id, UNIX_TIMESTAMP(created_at) DIV 1, "
                            "TIMESTAMPDIFF(MICROSECOND, COALESCE(available_at, created_at), NOW(6)) DIV 1000 FROM chasqui_batches "
                            "WHERE id IN (%s)", ids, c->n_rows, ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++) {
            struct item *it = c->row[i];
            if (it->batch_id != db_u64(db, 0))
                continue;
            db_str_copy(db, 1, it->portal, sizeof(it->portal));
            db_str_copy(db, 2, it->action, sizeof(it->action));
            it->token_id = db_u64(db, 4);
            db_str_copy(db, 5, it->request_id, sizeof(it->request_id));
            it->created_s = db_u64(db, 6);
            it->waited_ms = db_i64(db, 7);
            if (strcmp(db_str(db, 3, NULL), "cancelled") == 0)
                it->fate = FATE_CANCEL;
        }
    return DB_OK;
}

static enum db_rc jobs_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (!choose(c, FATE_GO, 0))
        return DB_OK;
    GATHER(c, job_id, ids);
    for (unsigned i = 0; i < c->n_rows; i++)
        c->row[i]->fate = FATE_CANCEL; /* unless its job waits */
    TRY(db_query_in_u64(db,
                        "SELECT j.id, j.portal, j.action, j.job_uid, j.attempts, q.tries, q.remember, q.request_id, q.params, q.token_id, "
                        "COALESCE((SELECT MAX(s.generation) FROM chasqui_sessions s WHERE s.job_id = j.id), 0), TIMESTAMPDIFF(MICROSECOND, "
                        "COALESCE(j.available_at, j.created_at), NOW(6)) DIV 1000 FROM portal_jobs j JOIN "
                        "chasqui_jobs q ON q.job_id = j.id WHERE j.id IN (%s) AND j.status IN ('queued', 'retrying')",
                        ids, c->n_rows, ""));
    while (db_next(db)) {
        struct item *it = row_of_job(c, db_u64(db, 0));
        if (!it)
            continue;
        it->fate = FATE_GO;
        db_str_copy(db, 1, it->portal, sizeof(it->portal));
        db_str_copy(db, 2, it->action, sizeof(it->action));
        db_str_copy(db, 3, it->job_uid, sizeof(it->job_uid));
        it->attempts = (uint32_t)db_u64(db, 4);
        it->tries = (uint32_t)db_u64(db, 5);
        it->remember = db_u64(db, 6) != 0;
        db_str_copy(db, 7, it->request_id, sizeof(it->request_id));
        if (!it->params.len)
            column_bytes(db, 8, &it->params);
        it->token_id = db_u64(db, 9);
        it->generation = (uint32_t)db_u64(db, 10) + 1;
        it->waited_ms = db_i64(db, 11);
    }
    return DB_OK;
}

/* ---- the companies ------------------------------------------------------------------------------------------------------------ */

static bool is_for(const struct item *it, uint64_t company_id, const char *portal)
{
    return it->company_id == company_id && strcmp(it->portal, portal) == 0;
}

/* Two items of one company and portal: the second one comes back and finds the first's session. */
static void twins_send_back(struct claim *c)
{
    for (unsigned i = 0; i < c->n; i++)
        for (unsigned k = 0; k < i && c->item[i].fate == FATE_GO; k++)
            if (c->item[k].fate == FATE_GO && is_for(&c->item[i], c->item[k].company_id, c->item[k].portal))
                c->item[i].fate = FATE_BACK;
}

static enum db_rc epochs_take(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db, "SELECT company_id, portal, epoch FROM chasqui_epochs WHERE company_id IN (%s) FOR UPDATE SKIP LOCKED", ids,
                        c->n_rows, ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (is_for(c->row[i], db_u64(db, 0), db_str(db, 1, NULL))) {
                c->row[i]->epoch = db_u64(db, 2);
                c->row[i]->has_epoch = true;
            }
    return DB_OK;
}

static void fill_company(void *arg, unsigned row, struct db_cell *cells)
{
    struct claim *c = arg;
    cells[0].n = c->row[row]->company_id;
    cells[1].data = c->row[row]->portal;
}

/* Of the chosen rows, those that `keep` says. */
static unsigned keep_rows(struct claim *c, bool (*keep)(const struct item *it))
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_rows; i++)
        if (keep(c->row[i]))
            c->row[n++] = c->row[i];
    return c->n_rows = n;
}

static bool has_no_epoch(const struct item *it)
{
    return !it->has_epoch;
}

static bool goes(const struct item *it)
{
    return it->fate == FATE_GO;
}

/* Locks the companies' epoch rows; a company whose row somebody else has is busy. Missing rows are made, and ours by that. */
static enum db_rc epochs_lock(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (!choose(c, FATE_GO, -1))
        return DB_OK;
    TRY(epochs_take(db, c));
    if (!keep_rows(c, has_no_epoch))
        return DB_OK;
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db, "SELECT company_id, portal FROM chasqui_epochs WHERE company_id IN (%s)", ids, c->n_rows, ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (is_for(c->row[i], db_u64(db, 0), db_str(db, 1, NULL)))
                c->row[i]->fate = FATE_BACK; /* it is there, and locked */
    if (!keep_rows(c, goes))
        return DB_OK;
    TRY(db_bulk(db, "INSERT IGNORE INTO chasqui_epochs (company_id, portal, epoch) VALUES (?, ?, 0)", "us", c->n_rows, fill_company, c));
    if (db_affected(db) == c->n_rows)
        return DB_OK; /* nobody else can have them: their epoch is 0 */
    TRY(epochs_take(db, c));
    for (unsigned i = 0; i < c->n_rows; i++)
        if (!c->row[i]->has_epoch)
            c->row[i]->fate = FATE_BACK;
    return DB_OK;
}

static void meet(struct item *it, const struct session_row *row)
{
    it->fate = FATE_MEET;
    it->met_job_id = row->job_id;
    it->met_ref = row->ref;
    strcpy(it->met_session_id, row->session_id);
}

static enum db_rc live_look(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    struct session_row row;
    if (!choose(c, FATE_GO, -1))
        return DB_OK;
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.company_id IN (%s) AND s.live = 1", ids, c->n_rows, ""));
    while (db_next(db)) {
        session_read(db, 0, &row);
        for (unsigned i = 0; i < c->n_rows; i++)
            if (c->row[i]->fate == FATE_GO && is_for(c->row[i], row.company_id, row.portal)) {
                if (row.state == SESSION_ACTIVE && !row.migrating)
                    meet(c->row[i], &row);
                else
                    c->row[i]->fate = FATE_BACK;
            }
    }
    return DB_OK;
}

/* Sessions that Laravel opened and nobody has used yet. */
static enum db_rc laravel_look(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX], job[QUEUE_CLAIM_MAX], robot[QUEUE_CLAIM_MAX];
    struct item *of[QUEUE_CLAIM_MAX];
    unsigned n = 0;
    if (!choose(c, FATE_GO, -1))
        return DB_OK;
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db,
                        "SELECT j.id, r.id, j.company_id, j.portal FROM portal_jobs j JOIN chasqui_robots r ON r.base_url = TRIM(TRAILING '/' "
                        "FROM j.robot_worker_base_url) AND r.removed = 0 WHERE j.company_id IN (%s) AND j.status IN ('done', 'running') AND "
                        "j.robot_session_id IS NOT NULL AND COALESCE(j.updated_at, j.created_at) >= NOW() - INTERVAL ? SECOND AND NOT EXISTS "
                        "(SELECT 1 FROM chasqui_sessions x WHERE x.job_id = j.id) AND NOT EXISTS (SELECT 1 FROM chasqui_jobs y WHERE y.job_id "
                        "= j.id) ORDER BY j.id DESC LIMIT 64",
                        ids, c->n_rows, "i", c->op->laravel_max_age_ms / 1000));
    while (n < QUEUE_CLAIM_MAX && db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (c->row[i]->fate == FATE_GO && is_for(c->row[i], db_u64(db, 2), db_str(db, 3, NULL))) {
                job[n] = db_u64(db, 0);
                robot[n] = db_u64(db, 1);
                of[n++] = c->row[i];
                break;
            }
    for (unsigned i = 0; i < n; i++) {
        struct session_row row;
        uint64_t ref;
        bool found;
        if (of[i]->fate != FATE_GO)
            continue;
        TRY(laravel_adopt(db, job[i], (uint32_t)robot[i], &ref));
        if (!ref)
            continue;
        TRY(session_by_ref(db, ref, &found, &row));
        meet(of[i], &row);
    }
    return DB_OK;
}

/* ---- places ----------------------------------------------------------------------------------------------------------------- */

/* The next item's robot: the best of those with room. */
static struct load *load_choose(struct claim *c)
{
    struct load *best = NULL;
    for (unsigned i = 0; i < c->n_loads; i++)
        if (c->room[i] && (!best || load_is_better(&c->load[i], best)))
            best = &c->load[i];
    if (best) {
        best->used++;
        c->room[best - c->load]--;
    }
    return best;
}

static enum db_rc slots_take(struct db *db, struct claim *c, const struct load *l)
{
    unsigned wanted = 0;
    for (unsigned i = 0; i < c->n; i++)
        wanted += c->item[i].fate == FATE_GO && c->item[i].robot_id == l->robot_id;
    if (!wanted)
        return DB_OK;
    TRY(db_query(db,
                 "SELECT slot FROM chasqui_places WHERE robot_id = ? AND session_ref IS NULL AND slot <= ? ORDER BY slot LIMIT ? FOR UPDATE "
                 "SKIP LOCKED",
                 "uuu", (uint64_t)l->robot_id, (uint64_t)l->capacity, (uint64_t)wanted));
    for (unsigned i = 0; i < c->n; i++)
        if (c->item[i].fate == FATE_GO && c->item[i].robot_id == l->robot_id) {
            if (db_next(db))
                c->item[i].slot = (uint32_t)db_u64(db, 0);
            else
                c->item[i].fate = FATE_LEAVE;
        }
    while (db_next(db))
        ;
    return DB_OK;
}

static enum db_rc places_take(struct db *db, struct claim *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->fate != FATE_GO)
            continue;
        struct load *l = load_choose(c);
        if (l)
            it->robot_id = l->robot_id;
        else
            it->fate = FATE_LEAVE;
    }
    for (unsigned i = 0; i < c->n_loads; i++)
        TRY(slots_take(db, c, &c->load[i]));
    for (unsigned i = 0; i < c->n_loads; i++) {
        char worker[NAME_ROOM];
        bool is_used = false;
        for (unsigned k = 0; k < c->n; k++)
            is_used |= c->item[k].fate == FATE_GO && c->item[k].robot_id == c->load[i].robot_id;
        if (!is_used)
            continue;
        worker_name(db, c->load[i].robot_id, worker);
        for (unsigned k = 0; k < c->n; k++)
            if (c->item[k].robot_id == c->load[i].robot_id)
                strcpy(c->item[k].worker, worker);
    }
    return DB_OK;
}

/* ---- writing those that begin --------------------------------------------------------------------------------------------------- */

static void fill_new_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->job_uid;
    cells[1].n = it->company_id;
    cells[2].data = it->portal;
    cells[3].data = it->action;
    cells[4].n = it->priority;
    cells[5].n = it->batch_id;
    cells[6].data = it->worker;
    cells[7].n = it->created_s;
    cells[8].n = it->created_s;
}

static void fill_old_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->worker;
    cells[1].n = it->job_id;
}

static void fill_private(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].data = it->job_uid;
    cells[2].n = it->company_id;
    cells[3].data = it->portal;
    cells[4].n = it->token_id;
    cells[5].data = it->request_id;
    cells[6].n = it->batch_id;
    cells[7].n = it->idx;
    cells[8].n = it->tries;
}

static void fill_job_id(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct claim *)arg)->row[row]->job_id;
}

/* portal_jobs rows are made for new items; the ids are read back by their job_uid. */
static enum db_rc jobs_make(struct db *db, struct claim *c)
{
    const char *uids[QUEUE_CLAIM_MAX];
    unsigned made = 0;
    if (choose(c, FATE_GO, 0)) {
        TRY(db_bulk(db,
                    "UPDATE portal_jobs SET status = 'running', attempts = attempts + 1, worker = ?, started_at = COALESCE(started_at, NOW(3)), "
                    "updated_at = NOW() WHERE id = ?",
                    "su", c->n_rows, fill_old_job, c));
        TRY(db_bulk(db, "UPDATE chasqui_sessions SET current_job_id = NULL WHERE current_job_id = ?", "u", c->n_rows, fill_job_id, c));
    }
    if (!choose(c, FATE_GO, 1))
        return DB_OK;
    for (unsigned i = 0; i < c->n_rows; i++) {
        id_job_uid(c->row[i]->job_uid);
        uids[i] = c->row[i]->job_uid;
    }
    TRY(db_bulk(db,
                "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, batch_id, worker, created_at, "
                "available_at, started_at, updated_at) VALUES (?, ?, ?, ?, 'running', ?, 1, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), NOW(3), "
                "NOW())",
                "sussuusuu", c->n_rows, fill_new_job, c));
    TRY(db_query_in(db, "SELECT id, job_uid FROM portal_jobs WHERE job_uid IN (%s)", uids, c->n_rows, ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (!c->row[i]->job_id && strcmp(c->row[i]->job_uid, db_str(db, 1, NULL)) == 0) {
                c->row[i]->job_id = db_u64(db, 0);
                made++;
            }
    if (made != c->n_rows)
        return DB_RETRY; /* a job_uid that Laravel has used: with others it works */
    return db_bulk(db,
                   "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, token_id, request_id, batch_id, idx, tries) "
                   "VALUES (?, ?, 'login', ?, ?, ?, NULLIF(?, ''), ?, ?, ?)",
                   "ususNsuuu", c->n_rows, fill_private, c);
}

static void fill_session(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].n = it->generation;
    cells[2].n = it->job_id;
    cells[3].n = it->company_id;
    cells[4].data = it->portal;
    cells[5].n = it->robot_id;
    cells[6].n = it->epoch;
}

static void fill_place(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->session_ref;
    cells[1].n = it->robot_id;
    cells[2].n = it->slot;
}

static void fill_epoch(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->epoch;
    cells[1].n = it->company_id;
    cells[2].data = it->portal;
}

static void fill_lease(void *arg, unsigned row, struct db_cell *cells)
{
    struct claim *c = arg;
    const struct item *it = c->row[row];
    const struct lease *l = &c->op->lease;
    const struct action *action = action_find(c->op->actions, it->action);
    cells[0].n = it->job_id;
    cells[1].data = l->token;
    cells[1].len = ID_TOKEN_BYTES;
    cells[2].n = it->session_ref;
    cells[3].data = l->holder;
    cells[4].data = l->boot_id;
    cells[5].n = (uint64_t)(action ? action->timeout_ms : LIMIT_MS) * 1000;
    cells[6].n = (uint64_t)l->ttl_ms * 1000;
}

static void fill_started_event(void *arg, unsigned row, struct db_cell *cells)
{
    struct claim *c = arg;
    cells[0].n = c->row[row]->job_id;
    cells[1].data = c->row[row]->worker;
    cells[2].data = c->op->lease.holder;
}

static void fill_item_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

static enum db_rc credentials_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db, "SELECT company_id, portal, sealed FROM chasqui_credentials WHERE company_id IN (%s)", ids, c->n_rows, ""));
    while (db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (is_for(c->row[i], db_u64(db, 0), db_str(db, 1, NULL)))
                column_bytes(db, 2, &c->row[i]->credentials);
    return DB_OK;
}

static enum db_rc begin(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    TRY(jobs_make(db, c));
    if (!choose(c, FATE_GO, -1))
        return DB_OK;
    for (unsigned i = 0; i < c->n_rows; i++) {
        c->row[i]->attempts++;
        c->row[i]->epoch++;
    }
    TRY(db_bulk(db,
                "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, robot_id, epoch) "
                "VALUES (?, ?, ?, ?, ?, 1, 'opening', NOW(6), ?, ?)",
                "uuuusuu", c->n_rows, fill_session, c));
    GATHER(c, job_id, ids);
    TRY(db_query_in_u64(db, "SELECT id, current_job_id FROM chasqui_sessions WHERE current_job_id IN (%s)", ids, c->n_rows, ""));
    while (db_next(db)) {
        struct item *it = row_of_job(c, db_u64(db, 1));
        if (it)
            it->session_ref = db_u64(db, 0);
    }
    TRY(db_bulk(db, "UPDATE chasqui_places SET session_ref = ? WHERE robot_id = ? AND slot = ? AND session_ref IS NULL", "uuu", c->n_rows,
                fill_place, c));
    if (db_affected(db) != c->n_rows)
        return DB_RETRY;
    TRY(db_bulk(db, "UPDATE chasqui_epochs SET epoch = ? WHERE company_id = ? AND portal = ?", "uus", c->n_rows, fill_epoch, c));
    TRY(db_bulk(db,
                "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) VALUES "
                "(?, ?, 'login', ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND, NOW(6) + INTERVAL ? MICROSECOND)",
                "ubussuu", c->n_rows, fill_lease, c));
    TRY(db_bulk(db, "INSERT INTO chasqui_job_events (job_id, at, event, worker, dispatcher) VALUES (?, NOW(6), 'started', ?, ?)", "uss",
                c->n_rows, fill_started_event, c));
    TRY(db_bulk(db, "UPDATE chasqui_items SET state = 'running', ready = NULL, due_at = NULL, job_id = ? WHERE batch_id = ? AND idx = ?", "uuu",
                c->n_rows, fill_item_job, c));
    return credentials_read(db, c);
}

/* ---- writing the others -------------------------------------------------------------------------------------------------------- */

static void fill_met_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->is_new ? it->met_job_id : it->job_id;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

static void fill_met_ref(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct claim *)arg)->row[row]->met_ref;
}

static void fill_met_private(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->met_session_id;
    cells[1].n = it->job_id;
}

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->batch_id;
    cells[1].n = it->idx;
}

static void fill_back(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = (BACK_MS + id_random_u64() % BACK_MS) * 1000;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

static enum db_rc others(struct db *db, struct claim *c)
{
    if (choose(c, FATE_MEET, -1)) {
        TRY(db_bulk(db, "UPDATE chasqui_items SET state = 'done', ready = NULL, job_id = ?, params = NULL WHERE batch_id = ? AND idx = ?", "uuu",
                    c->n_rows, fill_met_item, c));
        TRY(db_bulk(db, "UPDATE chasqui_sessions SET last_activity_at = NOW(6) WHERE id = ? AND state = 'active'", "u", c->n_rows,
                    fill_met_ref, c));
    }
    if (choose(c, FATE_MEET, 0)) {
        TRY(db_bulk(db, "UPDATE chasqui_jobs SET session_id = ?, params = NULL WHERE job_id = ?", "su", c->n_rows, fill_met_private, c));
        TRY(db_bulk(db,
                    "UPDATE portal_jobs SET status = 'done', error = NULL, message = NULL, finished_at = NOW(3), updated_at = NOW() WHERE id = ?",
                    "u", c->n_rows, fill_job_id, c));
        TRY(db_bulk(db, "INSERT INTO chasqui_job_events (job_id, at, event, detail) VALUES (?, NOW(6), 'done', 'the company had a session')",
                    "u", c->n_rows, fill_job_id, c));
    }
    if (choose(c, FATE_CANCEL, -1))
        TRY(db_bulk(db, "UPDATE chasqui_items SET state = 'cancelled', ready = NULL, params = NULL WHERE batch_id = ? AND idx = ?", "uu",
                    c->n_rows, fill_item, c));
    if (choose(c, FATE_BACK, -1))
        TRY(db_bulk(db,
                    "UPDATE chasqui_items SET ready = NULL, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE batch_id = ? AND idx = ?", "uuu",
                    c->n_rows, fill_back, c));
    return DB_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------- */

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct claim *c = arg;
    struct store_claim *op = c->op;
    unsigned room;
    items_forget(c);
    op->is_full = op->is_paused = false;
    TRY(db_query(db, "SELECT 1 FROM chasqui_pause WHERE until_at IS NULL OR until_at > NOW(6)", ""));
    if ((op->is_paused = db_next(db)))
        return DB_OK;
    TRY(room_read(db, c, &room));
    op->is_full = room == 0;
    TRY(items_lock(db, c, room && room < op->max ? room : op->max)); /* without room: those whose company has a session */
    if (!c->n)
        return DB_OK;
    TRY(batches_read(db, c));
    TRY(jobs_read(db, c));
    twins_send_back(c);
    TRY(epochs_lock(db, c));
    TRY(live_look(db, c));
    TRY(laravel_look(db, c));
    TRY(places_take(db, c));
    TRY(begin(db, c));
    return others(db, c);
}

static int claim_done(struct db *db, void *arg)
{
    struct claim *c = arg;
    return choose(c, FATE_GO, -1) ? lease_is_there(db, c->row[0]->job_id, c->op->lease.token) : 0;
}

static void batch_note(struct store_claim *op, uint64_t batch_id)
{
    for (unsigned i = 0; i < op->n_batches; i++)
        if (op->batch[i] == batch_id)
            return;
    if (batch_id)
        op->batch[op->n_batches++] = batch_id;
}

/* What was committed, for the loop. */
static void hand_over(struct claim *c)
{
    struct store_claim *op = c->op;
    for (unsigned i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->fate == FATE_MEET || it->fate == FATE_CANCEL)
            batch_note(op, it->batch_id);
        op->n_met += it->fate == FATE_MEET;
        if (it->fate != FATE_GO)
            continue;
        struct claimed *got = &op->got[op->n++];
        *got = (struct claimed){.item = {true, it->batch_id, it->idx, it->attempts, it->tries},
                                .job_id = it->job_id,
                                .session_ref = it->session_ref,
                                .epoch = it->epoch,
                                .company_id = it->company_id,
                                .token_id = it->token_id,
                                .robot_id = it->robot_id,
                                .waited_ms = it->waited_ms > 0 ? (uint64_t)it->waited_ms : 0,
                                .remember = it->remember,
                                .params = it->params,
                                .credentials = it->credentials};
        strcpy(got->portal, it->portal);
        strcpy(got->action, it->action);
        strcpy(got->job_uid, it->job_uid);
        strcpy(got->request_id, it->request_id);
        it->params = it->credentials = (struct buf){0};
    }
}

void store_claim(struct db *db, void *arg)
{
    struct store_claim *op = arg;
    struct claim *c = xcalloc(1, sizeof(*c));
    c->op = op;
    op->got = xcalloc(QUEUE_CLAIM_MAX, sizeof(*op->got));
    op->rc = store_tx(db, claim_tx, claim_done, c);
    if (op->rc == STORE_OK)
        hand_over(c);
    items_forget(c);
    free(c);
}

/* ---- the fallback poll ---------------------------------------------------------------------------------------------------------------- */

#define DUE_AT_ONCE 200

struct due {
    uint64_t batch_id[DUE_AT_ONCE], idx[DUE_AT_ONCE];
    unsigned n;
};

static void fill_due(void *arg, unsigned row, struct db_cell *cells)
{
    const struct due *due = arg;
    cells[0].n = due->batch_id[row];
    cells[1].n = due->idx[row];
}

static enum db_rc due_tx(struct db *db, void *arg)
{
    struct due *due = arg;
    due->n = 0;
    TRY(db_query(db,
                 "SELECT batch_id, idx FROM chasqui_items FORCE INDEX (due) WHERE due_at <= NOW(6) ORDER BY due_at LIMIT 200 FOR UPDATE SKIP "
                 "LOCKED",
                 ""));
    while (due->n < DUE_AT_ONCE && db_next(db)) {
        due->batch_id[due->n] = db_u64(db, 0);
        due->idx[due->n++] = db_u64(db, 1);
    }
    return due->n ? db_bulk(db, "UPDATE chasqui_items SET ready = 1, due_at = NULL WHERE batch_id = ? AND idx = ?", "uu", due->n, fill_due, due)
                  : DB_OK;
}

static enum db_rc look(struct db *db, struct store_queue_look *op)
{
    TRY(db_query(db,
                 "SELECT EXISTS (SELECT 1 FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1), (SELECT CAST(TIMESTAMPDIFF(MICROSECOND, "
                 "NOW(6), d.due_at) / 1000 AS INT) FROM chasqui_items d FORCE INDEX (due) WHERE d.due_at IS NOT NULL ORDER BY d.due_at LIMIT 1)",
                 ""));
    if (!db_next(db))
        return DB_FAIL;
    op->is_ready = db_u64(db, 0) != 0;
    op->due_in_ms = db_is_null(db, 1) ? -1 : db_i64(db, 1) > 0 ? db_i64(db, 1) : 0;
    return DB_OK;
}

void store_queue_look(struct db *db, void *arg)
{
    struct store_queue_look *op = arg;
    struct due due;
    op->rc = store_rc_of(db ? look(db, op) : DB_GONE);
    if (op->rc != STORE_OK || op->due_in_ms != 0)
        return;
    op->rc = store_tx(db, due_tx, NULL, &due);
    op->is_ready |= op->rc == STORE_OK && due.n;
}
