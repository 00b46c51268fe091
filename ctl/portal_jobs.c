/* SPDX-License-Identifier: MIT */
/*
 * portal_jobs.c - what Laravel's table is like, and its one column that may
 * be widened. Reads information_schema; only column_widen() changes anything.
 */
#include "ctl/portal_jobs.h"

#include "ctl/ctl.h"
#include "db/portal_shape.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum column_kind { COLUMN_INTEGER, COLUMN_TEXT, COLUMN_TIME, COLUMN_STATUS };

static const struct known {
    const char *name;
    enum column_kind kind;
    uint64_t least;
    bool required, may_be_not_null;
} known[] = {
#define COLUMN(name, kind, least, required, may_be_not_null) {name, kind, least, required, may_be_not_null},
#include "ctl/portal_column.def"
#undef COLUMN
};
#define N_KNOWN (sizeof(known) / sizeof(known[0]))

/* A column as information_schema describes it; strings are borrowed until the next row. */
struct column {
    const char *name, *data_type, *type, *extra;
    bool null, has_default, generated;
    uint64_t characters;
};

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(word, *list) == 0)
            return true;
    return false;
}

static unsigned integer_bytes(const char *data_type)
{
    static const struct {
        const char *name;
        unsigned bytes;
    } sizes[] = {{"tinyint", 1}, {"smallint", 2}, {"mediumint", 3}, {"int", 4}, {"bigint", 8}};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        if (strcasecmp(data_type, sizes[i].name) == 0)
            return sizes[i].bytes;
    return 0;
}

static bool is_text(const char *data_type)
{
    static const char *const texts[] = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", NULL};
    return is_one_of(data_type, texts);
}

/* What is wrong with a column that we know; NULL when it is good. */
static const char *wrong_with(const struct known *k, const struct column *c)
{
    static const char *const times[] = {"timestamp", "datetime", NULL};
    bool is_enum = strcasecmp(c->data_type, "enum") == 0;
    if (c->generated)
        return "is computed; Chasqui writes it";
    if (!c->null && !k->may_be_not_null)
        return "must be NULL-able";
    switch (k->kind) {
    case COLUMN_INTEGER:
        if (integer_bytes(c->data_type) >= k->least)
            return NULL;
        return k->least > 4   ? "must be a BIGINT"
               : k->least > 1 ? "must be an INT or BIGINT"
                              : "must be an integer";
    case COLUMN_TIME:
        return is_one_of(c->data_type, times) ? NULL : "must be TIMESTAMP or DATETIME";
    case COLUMN_STATUS:
        return is_enum || is_text(c->data_type) ? NULL : "must be text or an ENUM";
    case COLUMN_TEXT:
        break;
    }
    if (k->required && is_enum)
        return NULL;
    if (!is_text(c->data_type))
        return "must be text";
    return c->characters >= k->least ? NULL : "is too short for what Chasqui writes";
}

static const struct known *known_find(const char *name, bool *seen)
{
    for (unsigned i = 0; i < N_KNOWN; i++)
        if (strcasecmp(known[i].name, name) == 0) {
            seen[i] = true;
            return &known[i];
        }
    return NULL;
}

static void column_judge(const struct column *c, bool *seen, struct buf *refused)
{
    const struct known *k = known_find(c->name, seen);
    const char *wrong = k ? wrong_with(k, c) : NULL;
    if (wrong) {
        buf_addf(refused, "column %s is %s%s; it %s", c->name, c->type, c->null ? "" : " NOT NULL", wrong);
        if (k->kind == COLUMN_TEXT && is_text(c->data_type) && c->characters < k->least)
            buf_addf(refused, " (%llu characters)", (unsigned long long)k->least);
        buf_adds(refused, "\n");
    }
    if (k && strcmp(k->name, "id") == 0 && !strstr(c->extra, "auto_increment"))
        buf_adds(refused, "column id is not AUTO_INCREMENT; Chasqui adds rows without naming it\n");
    if (!k && !c->null && !c->has_default && !c->generated && !strstr(c->extra, "auto_increment"))
        buf_addf(refused,
                 "column %s (%s) is NOT NULL without a default, and Chasqui does not know it: its INSERTs would "
                 "fail; make it "
                 "NULL-able or give it a default\n",
                 c->name, c->type);
}

static enum db_rc columns_look(struct db *db, struct portal_jobs *out)
{
    bool seen[N_KNOWN] = {false};
    TRY(db_query(db,
                 "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, EXTRA, IS_NULLABLE = 'YES', COLUMN_DEFAULT IS NOT "
                 "NULL, IS_GENERATED <> 'NEVER', "
                 "COALESCE(CHARACTER_MAXIMUM_LENGTH, 0) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "
                 "DATABASE() AND TABLE_NAME = "
                 "'portal_jobs' ORDER BY ORDINAL_POSITION",
                 ""));
    while (db_next(db)) {
        struct column c = {db_str(db, 0, NULL), db_str(db, 1, NULL), db_str(db, 2, NULL), db_str(db, 3, NULL),
                           db_u64(db, 4) != 0,  db_u64(db, 5) != 0,  db_u64(db, 6) != 0,  db_u64(db, 7)};
        column_judge(&c, seen, &out->refused);
    }
    out->complete = true;
    for (unsigned i = 0; i < N_KNOWN; i++) {
        out->complete = out->complete && seen[i];
        if (!seen[i] && known[i].required)
            buf_addf(&out->refused, "column %s is missing; it is Laravel's to make\n", known[i].name);
    }
    return DB_OK;
}

/* Which of our words a CHECK of the column status refuses; "" = none, NULL = that cannot be found out. */
static const char *word_refused(struct db *db, const char *clause)
{
    struct buf sql = {0};
    if (strpbrk(clause, "?{"))
        return NULL;
    buf_addf(
        &sql,
        "SELECT w.status FROM (SELECT {queued} AS status UNION SELECT {retrying} UNION SELECT {running} UNION SELECT {done} UNION SELECT "
        "{failed} UNION SELECT {cancelled}) w WHERE NOT COALESCE((%s), 1)",
        clause);
    enum db_rc rc = db_query(db, sql.data, "");
    buf_free(&sql);
    return rc ? NULL : db_next(db) ? db_str(db, 0, NULL) : "";
}

static void status_check_judge(struct db *db, const char *clause, struct portal_jobs *out)
{
    const char *word = word_refused(db, clause);
    if (word && *word)
        buf_addf(
            &out->refused,
            "column status has a CHECK (%s), which refuses the word %s that Chasqui writes: laravel.status.* can name another one\n",
            clause, word);
    else if (!word)
        buf_addf(&out->refused, "column status has a CHECK (%s), which may refuse what Chasqui writes\n", clause);
}

/* A CHECK on a column that we write, JSON columns among them, could refuse what we write. That of status is tried. */
static enum db_rc checks_look(struct db *db, struct portal_jobs *out)
{
    bool seen[N_KNOWN] = {false};
    TRY(db_query(db,
                 "SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE "
                 "CONSTRAINT_SCHEMA = DATABASE() AND "
                 "TABLE_NAME = 'portal_jobs' AND LEVEL = 'Column'",
                 ""));
    struct buf status = {0};
    while (db_next(db))
        if (strcasecmp(db_str(db, 0, NULL), "status") == 0)
            buf_adds(&status, db_str(db, 1, NULL));
        else if (known_find(db_str(db, 0, NULL), seen))
            buf_addf(&out->refused, "column %s has a CHECK (%s), which may refuse what Chasqui writes\n",
                     db_str(db, 0, NULL), db_str(db, 1, NULL));
    if (status.len)
        status_check_judge(db, status.data, out);
    buf_free(&status);
    return DB_OK;
}

enum db_rc portal_jobs_look(struct db *db, struct portal_jobs *out)
{
    memset(out, 0, sizeof(*out));
    buf_adds(&out->refused, "");
    TRY(db_query(db,
                 "SELECT TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_SCHEMA = "
                 "DATABASE() AND TABLE_NAME = "
                 "'portal_jobs'",
                 ""));
    if (!db_next(db))
        return DB_OK;
    out->is_there = true;
    if (strcmp(db_str(db, 0, NULL), "BASE TABLE") != 0 || strcasecmp(db_str(db, 1, NULL), "InnoDB") != 0)
        buf_addf(&out->refused, "it is a %s (%s); it must be an InnoDB table, which has transactions\n",
                 db_str(db, 0, NULL), db_str(db, 1, NULL));
    TRY(columns_look(db, out));
    return checks_look(db, out);
}

/* ---- widening ----------------------------------------------------------------------------------------------- */

#define VALUES_MAX 32
#define WIDE_CHARACTERS 20

struct widen {
    char table[65], column[65];
    const char *value[VALUES_MAX];
    unsigned n;
};

/* TABLE.COLUMN v1 v2 ...; `text` is cut into pieces. */
static bool widen_parse(char *text, struct widen *w)
{
    char *save = NULL, *word = strtok_r(text, " \t\r\n", &save), *dot = word ? strchr(word, '.') : NULL;
    if (!dot || dot == word || (size_t)(dot - word) >= sizeof(w->table) || !dot[1] ||
        strlen(dot + 1) >= sizeof(w->column))
        return false;
    *dot = 0;
    strcpy(w->table, word);
    strcpy(w->column, dot + 1);
    while ((word = strtok_r(NULL, " \t\r\n", &save))) {
        if (w->n == VALUES_MAX || strchr(word, '\'') || strchr(word, '\\'))
            return false;
        w->value[w->n++] = word;
    }
    return w->n > 0;
}

/* The column's new type, empty when it need not change. */
static void wider_type(const struct widen *w, const char *data_type, const char *type, uint64_t characters,
                       struct buf *out)
{
    bool is_enum = strcasecmp(data_type, "enum") == 0;
    unsigned missing = 0;
    if (is_enum)
        buf_add(out, type, strlen(type) - 1); /* without its closing parenthesis */
    for (unsigned i = 0; i < w->n; i++) {
        bool is_new = true; /* two statuses may share a word */
        for (unsigned k = 0; k < i; k++)
            is_new = is_new && strcasecmp(w->value[k], w->value[i]) != 0;
        if (is_enum && is_new && !shape_enum_has(type, w->value[i])) {
            buf_addf(out, ",'%s'", w->value[i]);
            missing++;
        }
        missing += !is_enum && strlen(w->value[i]) > characters;
    }
    if (!missing)
        buf_clear(out);
    else if (is_enum)
        buf_adds(out, ")");
    else
        buf_addf(out, "VARCHAR(%d)", WIDE_CHARACTERS);
}

/* COLUMN_DEFAULT is SQL already: 'queued', NULL, current_timestamp(). */
static void alter_write(const struct widen *w, const char *type, struct db *db, struct buf *out)
{
    buf_addf(out, "ALTER TABLE `%s` MODIFY COLUMN `%s` %s CHARACTER SET %s COLLATE %s %s", w->table, w->column,
             type, db_str(db, 3, NULL), db_str(db, 4, NULL), db_u64(db, 5) ? "NULL" : "NOT NULL");
    if (!db_is_null(db, 6))
        buf_addf(out, " DEFAULT %s", db_str(db, 6, NULL));
    buf_addf(out, " COMMENT %s", db_str(db, 7, NULL));
}

enum db_rc column_widen_sql(struct db *db, const char *arguments, size_t len, struct buf *sql, struct buf *why)
{
    char text[1000] = "";
    struct widen w = {.n = 0};
    struct buf type = {0};
    if (len < sizeof(text))
        memcpy(text, arguments, len);
    bool is_good = widen_parse(text, &w);
    for (unsigned i = 0;
         is_good && i < w.n && strcmp(w.table, "portal_jobs") == 0 && strcmp(w.column, "status") == 0; i++)
        w.value[i] = shape_word(db_shape(db), w.value[i]);
    if (!is_good) {
        buf_addf(why, "the instruction widen-enum %.*s is malformed", (int)len, arguments);
        return DB_FAIL;
    }
    TRY(db_query(db,
                 "SELECT DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_SET_NAME, COLLATION_NAME, "
                 "IS_NULLABLE = 'YES', "
                 "COLUMN_DEFAULT, QUOTE(COLUMN_COMMENT) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "
                 "DATABASE() AND TABLE_NAME = ? AND "
                 "COLUMN_NAME = ?",
                 "ss", w.table, w.column));
    if (!db_next(db) || db_is_null(db, 3)) {
        buf_addf(why, "column %s.%s is not there, or is neither text nor an ENUM", w.table, w.column);
        return DB_FAIL;
    }
    wider_type(&w, db_str(db, 0, NULL), db_str(db, 1, NULL), db_u64(db, 2), &type);
    if (type.len)
        alter_write(&w, type.data, db, sql);
    buf_free(&type);
    return DB_OK;
}
