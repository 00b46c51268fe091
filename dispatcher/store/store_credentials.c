/* SPDX-License-Identifier: MIT */
/*
 * store_credentials.c - stored credentials, sealed before they come here. They
 * are never read back but for a log-in.
 */
#include "dispatcher/store/store_credentials.h"

#include "dispatcher/store/store_sql.h"

#include <stdio.h>

static enum db_rc audited(struct db *db, const struct store_credentials *op, const char *action)
{
    char subject[120];
    snprintf(subject, sizeof(subject), "company:%llu/%s", (unsigned long long)op->company_id, op->portal);
    return audit_add(db, op->by.name, op->by.peer, op->by.request_id, action, subject, NULL);
}

static enum db_rc set_tx(struct db *db, void *arg)
{
    struct store_credentials *op = arg;
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_credentials WHERE company_id = ? AND portal <> ?", "us",
                 op->company_id, op->portal));
    op->is_full =
        db_next(db) &&
        db_u64(db, 0) >= CREDENTIALS_MAX; /* any name is a portal's, so that a token could store without end */
    if (op->is_full)
        return DB_OK;
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) VALUES (?, ?, ?, NOW(6)) ON DUPLICATE KEY UPDATE sealed "
        "= VALUES(sealed), updated_at = VALUES(updated_at)",
        "usb", op->company_id, op->portal, (const void *)op->sealed.data, op->sealed.len));
    TRY(audited(db, op, "credentials_set"));
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(updated_at) * 1000 AS INT) FROM chasqui_credentials WHERE company_id = ? AND portal = ?",
        "us", op->company_id, op->portal));
    op->updated_ms = db_next(db) ? db_i64(db, 0) : 0;
    return DB_OK;
}

static int set_done(struct db *db, void *arg)
{
    struct store_credentials *op = arg;
    if (db_query(
            db,
            "SELECT CAST(UNIX_TIMESTAMP(updated_at) * 1000 AS INT) FROM chasqui_credentials WHERE company_id = ? AND portal = ? AND sealed = ? "
            "LOCK IN SHARE MODE WAIT 5",
            "usb", op->company_id, op->portal, (const void *)op->sealed.data, op->sealed.len))
        return -1;
    return db_next(db);
}

static enum db_rc remove_tx(struct db *db, void *arg)
{
    struct store_credentials *op = arg;
    TRY(db_exec(db, "DELETE FROM chasqui_credentials WHERE company_id = ? AND portal = ?", "us", op->company_id,
                op->portal));
    op->found = db_affected(db) == 1;
    return op->found ? audited(db, op, "credentials_remove") : DB_OK;
}

void store_credentials(struct db *db, void *arg)
{
    struct store_credentials *op = arg;
    op->rc = op->sealed.len ? store_tx(db, set_tx, set_done, op) : store_tx(db, remove_tx, NULL, op);
}
