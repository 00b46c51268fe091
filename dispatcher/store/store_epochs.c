/* SPDX-License-Identifier: MIT */
/*
 * store_epochs.c - locks the epochs of several companies. Of one: epoch_lock() in store_sql.c, which waits.
 *
 * Owns nothing; runs on database threads. Must never wait for a row that is there: who has it works for one company,
 * and the others of this transaction would wait too.
 */
#include "dispatcher/store/store_epochs.h"

#include "common/check.h"

#include <string.h>

struct some { /* rows that a statement is about */
    struct company_epoch *row[DB_LIST_MAX];
    unsigned n;
    uint64_t first;
};

static struct some all_of(struct company_epoch *row, unsigned n)
{
    struct some s = {.n = n};
    CHECK(n <= DB_LIST_MAX, "%u epochs", n);
    for (unsigned i = 0; i < n; i++) {
        s.row[i] = &row[i];
        row[i].is_ours = row[i].is_new = false;
    }
    return s;
}

static bool is_for(const struct company_epoch *row, uint64_t company_id, const char *portal)
{
    return row->company_id == company_id && strcmp(row->portal, portal) == 0;
}

/* The others keep their order, in which rows are inserted. */
static void leave(struct some *s, unsigned i)
{
    s->n--;
    memmove(&s->row[i], &s->row[i + 1], (s->n - i) * sizeof(*s->row));
}

static void companies_of(const struct some *s, uint64_t *out)
{
    for (unsigned i = 0; i < s->n; i++)
        out[i] = s->row[i]->company_id;
}

/* Those that are ours by it are left. */
static enum db_rc take(struct db *db, struct some *s)
{
    uint64_t companies[DB_LIST_MAX];
    if (!s->n)
        return DB_OK;
    companies_of(s, companies);
    TRY(db_query_in_u64(
        db,
        "SELECT company_id, portal, epoch FROM chasqui_epochs FORCE INDEX (PRIMARY) WHERE company_id IN (%s) FOR UPDATE SKIP LOCKED",
        companies, s->n, ""));
    while (db_next(db)) {
        uint64_t company_id = db_u64(db, 0), epoch = db_u64(db, 2);
        const char *portal = db_str(db, 1, NULL);
        for (unsigned i = s->n; i-- > 0;)
            if (is_for(s->row[i], company_id, portal)) {
                s->row[i]->epoch = epoch;
                s->row[i]->is_ours = true;
                leave(s, i);
            }
    }
    return DB_OK;
}

/* Those that are there are another transaction's, and are left. */
static enum db_rc others_leave(struct db *db, struct some *s)
{
    uint64_t companies[DB_LIST_MAX];
    companies_of(s, companies);
    TRY(db_query_in_u64(
        db, "SELECT company_id, portal FROM chasqui_epochs FORCE INDEX (PRIMARY) WHERE company_id IN (%s)",
        companies, s->n, ""));
    while (db_next(db)) {
        uint64_t company_id = db_u64(db, 0);
        const char *portal = db_str(db, 1, NULL);
        for (unsigned i = s->n; i-- > 0;)
            if (is_for(s->row[i], company_id, portal))
                leave(s, i);
    }
    return DB_OK;
}

static void fill(void *arg, unsigned row, struct db_cell *cells)
{
    const struct some *s = arg;
    cells[0].n = s->row[row]->company_id;
    cells[1].data = s->row[row]->portal;
    cells[2].n = s->first;
}

enum db_rc epochs_take(struct db *db, struct company_epoch *row, unsigned n)
{
    struct some s = all_of(row, n);
    return take(db, &s);
}

enum db_rc epochs_take_or_make(struct db *db, struct company_epoch *row, unsigned n, uint64_t first)
{
    struct some s = all_of(row, n);
    TRY(take(db, &s));
    if (!s.n)
        return DB_OK;
    TRY(others_leave(db, &s));
    if (!s.n)
        return DB_OK;
    s.first = first;
    TRY(db_bulk(db, "INSERT IGNORE INTO chasqui_epochs (company_id, portal, epoch) VALUES (?, ?, ?)", "usu", s.n,
                fill, &s));
    if (db_affected(db) != s.n)
        return take(db, &s); /* some were made by another one this moment */
    for (unsigned i = 0; i < s.n; i++) {
        s.row[i]->is_ours = s.row[i]->is_new = true;
        s.row[i]->epoch = first;
    }
    return DB_OK;
}
