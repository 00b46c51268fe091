/* SPDX-License-Identifier: MIT */
/*
 * tx.c - the database for commands: failures in words, one transaction a
 * change, its audit row inside. Owns nothing; the connection is main's.
 */
#include "ctl/ctl.h"

#include "common/text.h"
#include "ctl/migration.h"

#include <string.h>

enum ctl_exit ctl_db_fail(struct ctl *c, enum db_rc rc)
{
    const char *text = db_error(c->db);
    switch (rc) {
    case DB_GONE:
        if (c->conf->db_socket)
            return ctl_fail(c, "the database %s on %s cannot be reached: %s", c->conf->db_name, c->conf->db_socket,
                            text);
        return ctl_fail(c, "the database %s on %s port %lld cannot be reached: %s", c->conf->db_name,
                        c->conf->db_host, (long long)c->conf->db_port, text);
    case DB_RETRY:
        return ctl_fail(c, "the database is busy with the same rows; nothing was changed, try again: %s", text);
    case DB_NOT_HERE:
        return ctl_fail(c, "the database server is read-only; name the one that takes writes first in db.host: %s",
                        text);
    case DB_OK:
    case DB_DUP:
    case DB_REFUSED:
    case DB_FORGOTTEN:
    case DB_FAIL:
        break;
    }
    return ctl_fail(c, "the database refused: %s", text);
}

enum ctl_exit ctl_tx(struct ctl *c, enum db_rc (*fn)(struct db *, void *), int (*was_done)(struct db *, void *),
                     void *arg, const char *why)
{
    enum db_rc rc;
    switch (db_tx(c->db, fn, was_done, arg, &rc)) {
    case TX_DONE:
        return CTL_DONE;
    case TX_UNKNOWN:
        return ctl_fail(c, "the connection broke at the commit: it is not known whether the change was made; look "
                           "before trying again");
    case TX_NOT:
        break;
    }
    return *why ? ctl_fail(c, "%s", why) : ctl_db_fail(c, rc);
}

enum db_rc ctl_audit(struct db *db, const char *actor, const char *action, const char *subject, const char *detail)
{
    char who[160 * 4 + 1], what[160 * 4 + 1],
        more[1000 * 4 + 1]; /* an account, a host name, a reason typed in another character set */
    text_clean(who, sizeof(who), actor, strlen(actor), 160);
    text_clean(what, sizeof(what), subject, strlen(subject), 160);
    text_clean(more, sizeof(more), detail, detail ? strlen(detail) : 0, 1000);
    return db_exec(db,
                   "INSERT INTO chasqui_audit (at, actor, action, subject, detail) VALUES (NOW(6), ?, ?, ?, ?)",
                   "ssss", who, action, what, detail ? more : NULL);
}

bool ctl_tables_ready(struct ctl *c)
{
    unsigned version;
    enum db_rc rc = migration_version(c->db, &version);
    if (rc)
        ctl_db_fail(c, rc);
    else if (!version)
        ctl_fail(c, "the database %s has no tables of Chasqui yet; run: chasqui migrate", c->conf->db_name);
    else if (version < migration_latest())
        ctl_fail(c, "the database %s is at version %u, this program needs %u; run: chasqui migrate",
                 c->conf->db_name, version, migration_latest());
    return rc == DB_OK && version >= migration_latest();
}
