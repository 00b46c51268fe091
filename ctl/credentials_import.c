/* SPDX-License-Identifier: MIT */
/*
 * credentials_import.c - `chasqui credentials import`: the credentials of many
 * companies, from a file. Those that are stored already are left as they are, so
 * that what a robot refused stays refused: the same file can come each morning.
 */
#include "ctl/ctl.h"

#include "ctl/credentials.h"
#include "ctl/item_file.h"
#include "ctl/plain.h"
#include "ctl/progress.h"
#include "db/batch_line.h"
#include "db/seal.h"

#include <stdio.h>
#include <string.h>

#define GROUP 200
#define LINES_SAID 1000

struct row {
    uint64_t company_id;
    struct buf plain, sealed;
    bool is_there, is_same;
};

struct import {
    struct ctl *c;
    const char *portal;
    struct seal *key;
    struct item_file *file;
    uint64_t lines, n_new, n_changed, n_same, n_bad;
    unsigned n; /* rows that wait */
    struct row row[GROUP];
    enum ctl_exit code; /* of the database */
};

static void line_bad(void *arg, uint64_t line, const char *why)
{
    struct import *s = arg;
    if (s->n_bad++ < LINES_SAID)
        plain_line(stderr, "line %llu: %s", (unsigned long long)line, why);
}

/* ---- a group of rows, in one transaction -------------------------------------------------------------------- */

/* The same fields, in any order. */
static bool is_equal(const struct buf *a, const struct buf *b)
{
    enum jv_bad bad;
    struct jv *x = jv_parse(a->data, a->len, &bad), *y = jv_parse(b->data, b->len, &bad);
    bool equal = x && y && jv_equal(x, y);
    jv_wipe(x);
    jv_wipe(y);
    return equal;
}

static void there_take(struct import *s, uint64_t company_id, const void *sealed, size_t len)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct row *r = &s->row[i];
        struct buf plain = {0};
        if (r->company_id != company_id)
            continue;
        r->is_there = true;
        r->is_same = seal_unwrap(s->key, company_id, s->portal, "credentials", sealed, len, &plain) &&
                     is_equal(&plain, &r->plain);
        buf_wipe(&plain);
    }
}

static enum db_rc group_tx(struct db *db, void *arg)
{
    struct import *s = arg;
    uint64_t companies[GROUP];
    for (unsigned i = 0; i < s->n; i++) {
        companies[i] = s->row[i].company_id;
        s->row[i].is_there = s->row[i].is_same = false;
    }
    TRY(db_query_in_u64(
        db,
        "SELECT company_id, sealed FROM chasqui_credentials WHERE portal = ? AND company_id IN (%s) FOR UPDATE",
        companies, s->n, "s", s->portal));
    while (db_next(db)) {
        size_t len;
        const char *sealed = db_str(db, 1, &len);
        there_take(s, db_u64(db, 0), sealed, len);
    }
    for (unsigned i = 0; i < s->n && !s->c->args.n[OPT_PREVIEW]; i++)
        if (!s->row[i].is_same)
            TRY(credentials_write(db, s->c->actor, s->row[i].company_id, s->portal, &s->row[i].sealed, "import"));
    return DB_OK;
}

static void group_end(struct import *s)
{
    if (s->n && s->code == CTL_DONE)
        s->code = ctl_tx(s->c, group_tx, NULL, s, "");
    for (unsigned i = 0; i < s->n; i++) {
        struct row *r = &s->row[i];
        uint64_t *count = r->is_same ? &s->n_same : r->is_there ? &s->n_changed : &s->n_new;
        *count += s->code == CTL_DONE;
        buf_wipe(&r->plain);
        buf_free(&r->sealed);
    }
    s->n = 0;
}

/* ---- the file ----------------------------------------------------------------------------------------------- */

static bool is_waiting(const struct import *s, uint64_t company_id)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->row[i].company_id == company_id)
            return true;
    return false;
}

static void row_add(struct import *s, uint64_t company_id, struct buf *plain)
{
    if (s->n == GROUP || is_waiting(s, company_id)) /* of two rows of a company the later one counts */
        group_end(s);
    struct row *r = &s->row[s->n++];
    *r = (struct row){.company_id = company_id, .plain = *plain};
    *plain = (struct buf){0};
    seal_wrap(s->key, company_id, s->portal, "credentials", r->plain.data, r->plain.len, &r->sealed);
}

static void line_take(void *arg, const char *text, size_t len)
{
    const struct batch_rules rules = {.all = true, .may_have_params = true};
    struct import *s = arg;
    struct batch_line line = {0};
    uint64_t at = item_file_line(s->file, s->lines++);
    batch_line_read(&line, text, len, &rules);
    if (line.error) {
        struct buf why = {0};
        item_file_errors(&why, line.errors);
        line_bad(s, at, why.len ? why.data : err_text(line.error));
        buf_free(&why);
        jv_free(line.errors);
    } else if (line.params.len <= 2) {
        line_bad(s, at, "it has no credentials, only the company");
    } else {
        row_add(s, line.company_id, &line.params);
    }
    buf_wipe(&line.params);
}

static enum ctl_exit told(struct import *s)
{
    struct ctl *c = s->c;
    char created[TEXT_NUMBER], changed[TEXT_NUMBER], same[TEXT_NUMBER], bad[TEXT_AMOUNT];
    bool is_preview = c->args.n[OPT_PREVIEW] != 0;
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", s->n_bad == 0);
        jv_set_bool(body, "preview", is_preview);
        jv_set_int(body, "new", (int64_t)s->n_new);
        jv_set_int(body, "changed", (int64_t)s->n_changed);
        jv_set_int(body, "unchanged", (int64_t)s->n_same);
        jv_set_int(body, "rejected_total", (int64_t)s->n_bad);
        ctl_json(body);
    } else {
        printf("credentials for %s: %s new, %s changed, %s as they were; %s rejected%s\n", s->portal,
               number_text(s->n_new, created), number_text(s->n_changed, changed), number_text(s->n_same, same),
               amount_text(s->n_bad, "row", bad), is_preview ? "; nothing was stored" : "");
    }
    return s->n_bad ? CTL_FAILED : CTL_DONE;
}

enum ctl_exit credentials_import(struct ctl *c)
{
    struct import s = {.c = c};
    if (!args_portal(c, &s.portal))
        return CTL_USAGE;
    if (!c->conf->seal_key_file)
        return ctl_fail(c, "seal.key_file is not set; chasqui keys init makes one");
    if (!(s.key = seal_open(c->conf->seal_key_file)))
        return ctl_fail(c, "%s cannot be used to seal; nothing was stored", c->conf->seal_key_file);
    bool good = (s.file = item_file_open(c, c->args.word[0])) && item_file_each(s.file, line_take, &s);
    group_end(&s);
    if (s.file) {
        item_file_bad_each(s.file, line_bad, &s);
        s.n_bad +=
            item_file_bad_total(s.file) - jv_len(item_file_bad(s.file)); /* those that are not told one by one */
    }
    enum ctl_exit code = s.code == CTL_DONE && s.file ? told(&s) : CTL_FAILED;
    if (s.file)
        item_file_close(&s.file);
    seal_close(&s.key);
    return good ? code : CTL_FAILED;
}
