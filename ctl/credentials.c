/* SPDX-License-Identifier: MIT */
/*
 * credentials.c - `chasqui credentials`: what a company logs in with, sealed
 * before it reaches the database. It is read from standard input only, never
 * from the command line, and overwritten in memory; no message and no row holds
 * it in the clear.
 */
#include "ctl/credentials.h"

#include "ctl/ctl.h"

#include "common/buf.h"
#include "ctl/broker.h"
#include "ctl/csv_out.h"
#include "db/seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDENTIALS_BYTES_MAX 16384

struct credentials {
    const char *actor, *portal, *reason;
    uint64_t company_id;
    struct buf sealed;
    bool found;
};

static void subject_write(const struct credentials *s, char out[120])
{
    snprintf(out, 120, "company:%llu/%s", (unsigned long long)s->company_id, s->portal);
}

/* ---- set ---------------------------------------------------------------------------------------------------- */

enum db_rc credentials_write(struct db *db, const char *actor, uint64_t company_id, const char *portal,
                             const struct buf *sealed, const char *detail)
{
    const struct credentials s = {.company_id = company_id, .portal = portal};
    char subject[120];
    TRY(db_exec(db,
                "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) VALUES (?, ?, ?, "
                "NOW(6)) ON DUPLICATE KEY UPDATE sealed = "
                "VALUES(sealed), updated_at = VALUES(updated_at)",
                "usb", company_id, portal, (const void *)sealed->data, sealed->len));
    subject_write(&s, subject);
    return ctl_audit(db, actor, "credentials_set", subject, detail);
}

static enum db_rc set_tx(struct db *db, void *arg)
{
    const struct credentials *s = arg;
    return credentials_write(db, s->actor, s->company_id, s->portal, &s->sealed, NULL);
}

static int set_done(struct db *db, void *arg)
{
    struct credentials *s = arg;
    if (db_query(db, "SELECT 1 FROM chasqui_credentials WHERE company_id = ? AND portal = ? AND sealed = ?", "usb",
                 s->company_id, s->portal, (const void *)s->sealed.data, s->sealed.len))
        return -1;
    return db_next(db);
}

/* All of standard input, at most one byte more than is taken. */
static bool input_read(struct ctl *c, char *out, size_t *len)
{
    if (isatty(STDIN_FILENO))
        fputs("one JSON object, then Ctrl-D:\n", stderr);
    *len = 0;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, out + *len, CREDENTIALS_BYTES_MAX + 1 - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ctl_fail(c, "standard input cannot be read: %s", strerror(errno)), false;
        *len += (size_t)n;
        if (*len > CREDENTIALS_BYTES_MAX)
            return ctl_fail(c, "the credentials are longer than 16 KiB; nothing was stored"), false;
        if (n == 0)
            return true;
    }
}

/* The fields that Chasqui itself adds to a log-in cannot be stored. NULL when there is none. */
static const char *reserved_field(const struct jv *object)
{
    static const char *const ours[] = {"company_id", "portal", "job_uid", "epoch"};
    for (unsigned i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (jv_type(jv_get(object, ours[i])) != JV_ABSENT)
            return ours[i];
    return NULL;
}

/* Seals what was read; false after saying why not. */
static bool input_seal(struct ctl *c, const struct seal *key, struct credentials *s, const char *text, size_t len)
{
    enum jv_bad bad;
    struct jv *object = jv_parse(text, len, &bad);
    const char *ours = NULL;
    bool good = false;
    if (!object)
        ctl_fail(c, "standard input is not one JSON object (%s); nothing was stored", jv_bad_text(bad));
    else if (jv_type(object) != JV_OBJECT || jv_len(object) == 0)
        ctl_fail(c, "standard input must be one JSON object with at least one field; nothing was stored");
    else if ((ours = reserved_field(object)))
        ctl_fail(c, "the field %s is Chasqui's own and cannot be stored; nothing was stored", ours);
    else
        good = true;
    if (good) {
        size_t compact_len;
        char *compact = jv_dump(object, &compact_len);
        seal_wrap(key, s->company_id, s->portal, "credentials", compact, compact_len, &s->sealed);
        explicit_bzero(compact, compact_len);
        free(compact);
    }
    jv_wipe(object);
    return good;
}

enum ctl_exit credentials_set(struct ctl *c)
{
    struct credentials s = {.actor = c->actor};
    char text[CREDENTIALS_BYTES_MAX + 1];
    size_t len = 0;
    if (!args_company(c, &s.company_id) || !args_portal(c, &s.portal))
        return CTL_USAGE;
    if (!c->conf->seal_key_file)
        return ctl_fail(c, "seal.key_file is not set; chasqui keys init makes one");
    struct seal *key = seal_open(c->conf->seal_key_file);
    if (!key)
        return ctl_fail(c, "%s cannot be used to seal; nothing was stored", c->conf->seal_key_file);
    enum ctl_exit code = CTL_FAILED;
    if (input_read(c, text, &len) && input_seal(c, key, &s, text, len))
        code = ctl_tx(c, set_tx, set_done, &s, "");
    explicit_bzero(text, sizeof(text));
    seal_close(&key);
    buf_free(&s.sealed);
    if (code != CTL_DONE)
        return code;
    return ctl_say(c, "credentials of company %llu for %s are stored", (unsigned long long)s.company_id, s.portal);
}

/* ---- list --------------------------------------------------------------------------------------------------- */

static void list_row(struct db *db, struct jv *list)
{
    struct jv *one = jv_new_object();
    jv_set_int(one, "company_id", db_i64(db, 0));
    jv_set_str(one, "portal", db_str(db, 1, NULL));
    jv_set_time(one, "updated_at", db_i64(db, 2));
    jv_set_time(one, "refused_at", db_i64(db, 3));
    if (db_is_null(db, 4))
        jv_set(one, "robot_status", NULL);
    else
        jv_set_int(one, "robot_status", db_i64(db, 4));
    jv_set_str(one, "robot_error", db_str(db, 5, NULL));
    jv_set_str(one, "robot_message", db_str(db, 6, NULL));
    jv_push(list, one);
}

static void list_table(const struct jv *list, bool is_refused)
{
    static const char *const heads[] = {">COMPANY", "PORTAL", "UPDATED (UTC)", "REFUSED (UTC)", "~~ROBOT SAID",
                                        "~MESSAGE", NULL};
    static const char *const keys[] = {"company_id",  "portal",        "updated_at", "refused_at",
                                       "robot_error", "robot_message", NULL};
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++)
        for (unsigned k = 0; keys[k]; k++)
            broker_cell(table, jv_at(list, i), keys[k]);
    table_print(&table, is_refused ? "no stored credentials are refused" : "no credentials are stored");
}

enum ctl_exit credentials_list(struct ctl *c)
{
    static const char *const csv[] = {"company_id",   "portal",      "updated_at",    "refused_at",
                                      "robot_status", "robot_error", "robot_message", NULL};
    uint64_t company_id = 0;
    const char *portal = "";
    bool is_refused = c->args.n[OPT_REFUSED] != 0;
    if ((c->args.n[OPT_COMPANY] && !args_company(c, &company_id)) ||
        (c->args.n[OPT_PORTAL] && !args_portal(c, &portal)))
        return CTL_USAGE;
    struct db *db = c->db;
    enum db_rc rc = db_query(
        db,
        "SELECT c.company_id, c.portal, CAST(UNIX_TIMESTAMP(c.updated_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(r.at) * "
        "1000 AS INT), r.robot_status, r.robot_error, r.robot_message FROM chasqui_credentials c LEFT JOIN chasqui_refused r "
        "ON r.company_id = c.company_id AND r.portal = c.portal AND r.credentials_at = c.updated_at WHERE (? = 0 OR "
        "c.company_id = ?) AND (? = '' OR c.portal = ?) AND (? = 0 OR r.at IS NOT NULL) ORDER BY c.company_id, c.portal",
        "uussu", company_id, company_id, portal, portal, (uint64_t)is_refused);
    if (rc)
        return ctl_db_fail(c, rc);
    struct jv *body = jv_new_object(), *list = jv_new_array();
    while (db_next(db))
        list_row(db, list);
    jv_set(body, "credentials", list);
    if (c->args.json)
        return ctl_json(body);
    if (c->args.n[OPT_CSV])
        csv_print(stdout, list, csv);
    else
        list_table(list, is_refused);
    jv_free(body);
    return CTL_DONE;
}

/* ---- lift --------------------------------------------------------------------------------------------------- */

static enum db_rc lift_tx(struct db *db, void *arg)
{
    struct credentials *s = arg;
    char subject[120];
    TRY(db_exec(db, "DELETE FROM chasqui_refused WHERE company_id = ? AND portal = ?", "us", s->company_id,
                s->portal));
    s->found = db_affected(db) == 1;
    subject_write(s, subject);
    return s->found ? ctl_audit(db, s->actor, "credentials_lift", subject, s->reason) : DB_OK;
}

enum ctl_exit credentials_lift(struct ctl *c)
{
    struct credentials s = {.actor = c->actor};
    if (!args_company(c, &s.company_id) || !args_portal(c, &s.portal) || !args_reason(c, &s.reason))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, lift_tx, NULL, &s, "");
    if (code != CTL_DONE)
        return code;
    if (!s.found)
        return ctl_fail(c, "the credentials of company %llu for %s are not refused",
                        (unsigned long long)s.company_id, s.portal);
    return ctl_say(c, "credentials of company %llu for %s are used again", (unsigned long long)s.company_id,
                   s.portal);
}

/* ---- remove ------------------------------------------------------------------------------------------------- */

static enum db_rc remove_tx(struct db *db, void *arg)
{
    struct credentials *s = arg;
    char subject[120];
    TRY(db_exec(db, "DELETE FROM chasqui_credentials WHERE company_id = ? AND portal = ?", "us", s->company_id,
                s->portal));
    s->found = db_affected(db) == 1;
    subject_write(s, subject);
    return s->found ? ctl_audit(db, s->actor, "credentials_remove", subject, NULL) : DB_OK;
}

enum ctl_exit credentials_remove(struct ctl *c)
{
    struct credentials s = {.actor = c->actor};
    if (!args_company(c, &s.company_id) || !args_portal(c, &s.portal))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, remove_tx, NULL, &s, "");
    if (code != CTL_DONE)
        return code;
    if (!s.found)
        return ctl_fail(c, "no credentials of company %llu for %s are stored", (unsigned long long)s.company_id,
                        s.portal);
    return ctl_say(c, "credentials of company %llu for %s are removed", (unsigned long long)s.company_id,
                   s.portal);
}
