/* SPDX-License-Identifier: MIT */
/*
 * store_claim_company.c - the companies of a claim's items: one log-in of a
 * company and portal at a time, and none where a session is there already.
 * Runs inside the claim's transaction.
 */
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_adopt.h"
#include "dispatcher/store/store_claim.h"
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_epochs.h"

#include <string.h>

/* Two items of one company and portal: the second one comes back and finds the first's session. */
static void twins_send_back(struct claim *c)
{
    for (unsigned i = 0; i < c->n; i++)
        for (unsigned k = 0; k < i && c->item[i].fate == FATE_GO; k++)
            if (c->item[k].fate == FATE_GO && item_is_for(&c->item[i], c->item[k].company_id, c->item[k].portal))
                c->item[i].fate = FATE_BACK;
}

/* Locks the companies' epoch rows; a company whose row somebody else has is busy. */
static enum db_rc epochs_lock(struct db *db, struct claim *c)
{
    struct company_epoch row[QUEUE_CLAIM_MAX];
    unsigned n = claim_choose(c, FATE_GO, -1);
    if (!n)
        return DB_OK;
    for (unsigned i = 0; i < n; i++)
        row[i] = (struct company_epoch){.company_id = c->row[i]->company_id, .portal = c->row[i]->portal};
    TRY(epochs_take_or_make(db, row, n, 1));
    for (unsigned i = 0; i < n; i++) {
        c->row[i]->is_raised = row[i].is_new;
        c->row[i]->epoch = row[i].is_new ? 0 : row[i].epoch;
        if (!row[i].is_ours)
            c->row[i]->fate = FATE_BACK;
    }
    return DB_OK;
}

static void meet(struct item *it, const struct session_row *row)
{
    it->fate = it->is_round ? FATE_JOIN : FATE_MEET;
    it->robot_id = row->robot_id;
    it->met_job_id = row->job_id;
    it->met_ref = row->ref;
    strcpy(it->met_session_id, row->session_id);
}

/* The live sessions of these companies in a portal. With the portal the index leads to them, past all that have ended. */
static enum db_rc live_look_in(struct db *db, struct claim *c, const char *portal, const uint64_t *companies,
                               unsigned n)
{
    struct session_row row;
    TRY(db_query_in_u64(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_robots r WHERE r.id = s.robot_id AND " IS_DOWN(
            "r") "), EXISTS (SELECT 1 FROM "
                 "chasqui_leases l WHERE l.session_ref = s.id AND l.kind = 'round'), " SESSION_COLUMNS
                     SESSION_FROM_BY(
                         "FORCE INDEX (one_live)") "WHERE s.company_id IN (%s) AND s.portal = ? AND s.live = 1",
        companies, n, "s", portal));
    while (db_next(db)) {
        bool is_reachable = db_u64(db, 0) == 0, is_at_work = db_u64(db, 1) != 0;
        session_read(db, 2, &row);
        for (unsigned i = 0; i < c->n_rows; i++)
            if (c->row[i]->fate == FATE_GO && item_is_for(c->row[i], row.company_id, row.portal)) {
                bool is_free = !is_at_work || !c->row[i]->is_round; /* one round at a time in a session */
                if (row.state == SESSION_ACTIVE && !row.migrating && is_reachable && !row.is_rowless && is_free)
                    meet(c->row[i], &row);
                else
                    c->row[i]->fate = FATE_BACK;
            }
    }
    return DB_OK;
}

static enum db_rc live_look(struct db *db, struct claim *c)
{
    struct company_at rows[QUEUE_CLAIM_MAX];
    uint64_t companies[QUEUE_CLAIM_MAX];
    bool is_done[QUEUE_CLAIM_MAX] = {false};
    unsigned n_rows = claim_choose(c, FATE_GO, -1);
    for (unsigned i = 0; i < n_rows; i++)
        rows[i] = (struct company_at){c->row[i]->portal, c->row[i]->company_id};
    for (unsigned i = 0, n; i < n_rows; i++)
        if ((n = portal_next(rows, n_rows, i, is_done, companies)))
            TRY(live_look_in(db, c, rows[i].portal, companies, n));
    return DB_OK;
}

/* Sessions that Laravel opened and nobody has used yet. */
static enum db_rc laravel_look(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX], job[QUEUE_CLAIM_MAX], robot[QUEUE_CLAIM_MAX];
    struct item *of[QUEUE_CLAIM_MAX];
    unsigned n = 0;
    if (!claim_choose(c, FATE_GO, -1))
        return DB_OK;
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(
        db,
        "SELECT STRAIGHT_JOIN j.id, r.id, j.company_id, j.portal, " IS_DOWN(
            "r") " FROM portal_jobs j FORCE INDEX (chasqui_company) JOIN chasqui_robots r ON r.base_url = TRIM(TRAILING '/' "
                 "FROM j.robot_worker_base_url) AND r.removed = 0 WHERE j.company_id IN (%s) AND " LARAVEL_YOUNG
                 " AND " LARAVEL_OWN " ORDER BY j.id DESC LIMIT 64",
        ids, c->n_rows, "i", c->op->laravel_max_age_ms / 1000));
    while (n < QUEUE_CLAIM_MAX && db_next(db))
        for (unsigned i = 0; i < c->n_rows; i++)
            if (c->row[i]->fate == FATE_GO && item_is_for(c->row[i], db_u64(db, 2), db_str(db, 3, NULL))) {
                if (db_u64(db, 4)) {
                    c->row[i]->fate = FATE_BACK; /* its robot does not answer: it waits for that */
                    break;
                }
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

enum db_rc claim_companies(struct db *db, struct claim *c)
{
    twins_send_back(c);
    TRY(epochs_lock(db, c));
    TRY(live_look(db, c));
    return laravel_look(db, c);
}
