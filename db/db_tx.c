/* SPDX-License-Identifier: MIT */
/*
 * db_tx.c - transactions: begin, run, commit or roll back. A transaction is run again when the database says "not
 * now". Its outcome is settled when the connection broke at COMMIT.
 *
 * Owns nothing. Must never commit a transaction that an error has ended, and must never run again a transaction
 * that may have been committed.
 */
#include "db/mariadb.h"

#include "common/clock.h"
#include "common/id.h"

#include <time.h>

#define TX_TRIES 5
#define STALE_MS 1000 /* a failure sooner than this came from a connection found dead: worth a second try */

static void back_off(unsigned attempt)
{
    struct timespec pause = {0, (long)(id_random_u64() % (10000000ull << attempt))};
    nanosleep(&pause, NULL);
}

static enum db_done settle(struct db *db, int (*was_done)(struct db *db, void *arg), void *arg)
{
    for (unsigned attempt = 0; was_done && attempt < TX_TRIES; attempt++) {
        if (db_ready(db) == DB_OK) {
            db_catch_up(db);
            int done = was_done(db, arg);
            if (done >= 0)
                return done ? TX_DONE : TX_NOT;
        }
        back_off(attempt + 2);
    }
    return TX_UNKNOWN;
}

enum db_done db_tx(struct db *db, enum db_rc (*fn)(struct db *db, void *arg),
                   int (*was_done)(struct db *db, void *arg), void *arg, enum db_rc *rc)
{
    bool was_behind = false;
    bool again = db_is_open(db); /* one more try if the open connection turns out to be dead */
    for (unsigned attempt = 0; attempt < TX_TRIES; attempt++) {
        uint64_t began = clock_ms();
        *rc = db_begin(db);
        if (*rc == DB_OK)
            *rc = fn(db, arg);
        if (*rc == DB_OK)
            *rc = db_poison(db);
        if (*rc == DB_OK && db_missed(db) && !was_behind &&
            attempt + 1 < TX_TRIES) { /* only once: then the row did not exist */
            was_behind = true;
            db_end(db, false);
            db_catch_up(db);
            continue;
        }
        bool asked = *rc == DB_OK;
        if (asked && (*rc = db_end(db, true)) == DB_OK)
            return TX_DONE;
        if (asked && *rc == DB_GONE) {
            enum db_done done = settle(db, was_done, arg);
            if (done != TX_NOT)
                return done;
        } else if (!asked) {
            db_end(db, false);
        }
        if (*rc == DB_GONE && again && clock_ms() - began < STALE_MS)
            again = false;
        else if (*rc != DB_RETRY)
            break;
        else
            back_off(attempt);
    }
    if ((*rc == DB_DUP || *rc == DB_RETRY) && db_dup_of_others(db))
        *rc = DB_REFUSED;
    return TX_NOT;
}
