/* SPDX-License-Identifier: MIT */
/*
 * db_error.c - the table of errors, and the names in the message of a refusal.
 *
 * Owns nothing. Must never copy a value out of a message, because it may be a client's. One text is kept: the
 * message that a trigger signalled, which its author wrote for people.
 */
#include "db/db_error.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct row {
    unsigned number;
    enum db_kind kind;
    const char *name;
};

static const struct row rows[] = {
#define DB_ERROR(number, kind, name) {number, DB_KIND_##kind, name},
#include "db/db_error.def"
#undef DB_ERROR
};

static const struct row *row_of(unsigned number)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

enum db_kind db_error_kind(unsigned number, const char *sqlstate)
{
    static const struct {
        const char *class;
        enum db_kind kind;
    } classes[] = {
        {"08", DB_KIND_GONE},    {"40", DB_KIND_NOT_NOW}, {"25006", DB_KIND_NOT_HERE}, {"22", DB_KIND_REFUSED},
        {"23", DB_KIND_REFUSED}, {"42", DB_KIND_REFUSED}, {"44", DB_KIND_REFUSED},     {"45", DB_KIND_REFUSED},
    };
    const struct row *row = row_of(number);
    if (row)
        return row->kind;
    for (unsigned i = 0; sqlstate && i < sizeof(classes) / sizeof(*classes); i++)
        if (strncmp(sqlstate, classes[i].class, strlen(classes[i].class)) == 0)
            return classes[i].kind;
    return number >= 9000 && number < 10000 ? DB_KIND_GONE /* ProxySQL reports a server that it cannot reach */
                                            : DB_KIND_OTHER;
}

/* ---- names in a message ------------------------------------------------------------------------------------- */

static void name_copy(char out[DB_IDENT_ROOM], const char *s, size_t len)
{
    snprintf(out, DB_IDENT_ROOM, "%.*s", (int)(len < DB_IDENT_ROOM ? len : DB_IDENT_ROOM - 1), s);
}

/* Reads `a`.`b`.`c` at *at into `name`; the last name found comes last. A backquote inside a name is doubled. */
static unsigned chain_read(const char **at, char name[3][DB_IDENT_ROOM])
{
    unsigned n = 0;
    const char *s = *at;
    while (*s == '`') {
        char one[DB_IDENT_ROOM];
        size_t len = 0;
        for (s++; *s && (*s != '`' || s[1] == '`'); s++) {
            if (len + 1 < sizeof(one))
                one[len++] = *s;
            s += *s == '`';
        }
        one[len] = 0;
        if (!*s)
            break; /* the message was cut inside a name */
        if (n == 3) {
            memmove(name[0], name[1], 2 * DB_IDENT_ROOM);
            n = 2;
        }
        memcpy(name[n++], one, sizeof(one));
        s++;
        if (*s == '.' && s[1] == '`')
            s++;
        else
            break;
    }
    *at = s;
    return n;
}

/* Finds the n-th chain of backquoted names (0 = the first), or the last one (-1). Returns how many names it
 * has. */
static unsigned chain_find(const char *message, int which, char name[3][DB_IDENT_ROOM])
{
    unsigned found = 0;
    char one[3][DB_IDENT_ROOM];
    for (const char *s = strchr(message, '`'); s && *s; s = strchr(s, '`')) {
        const char *at = s;
        unsigned n = chain_read(&at, one);
        if (n) {
            found = n;
            memcpy(name, one, sizeof(one));
            if (which-- == 0)
                return n;
        }
        s = at > s ? at : s + 1;
    }
    return which < 0 ? found : 0;
}

/* Reads the text in the first or the last pair of single quotes, from behind its last dot. */
static bool quoted_find(const char *message, bool is_last, char out[DB_IDENT_ROOM])
{
    const char *end = is_last ? strrchr(message, '\'') : NULL, *begin = strchr(message, '\'');
    if (is_last) {
        begin = NULL;
        for (const char *s = end; s && s > message && !begin; s--)
            if (s[-1] == '\'')
                begin = s - 1;
    } else if (begin) {
        end = strchr(begin + 1, '\'');
    }
    if (!begin || !end || end <= begin + 1)
        return false;
    for (const char *s = begin + 1; s < end; s++)
        if (*s == '.')
            begin = s;
    name_copy(out, begin + 1, (size_t)(end - begin - 1));
    return out[0] != 0;
}

/* ---- names in a statement ----------------------------------------------------------------------------------- */

static bool word_is(const char *s, const char *word)
{
    size_t n = strlen(word);
    return strncasecmp(s, word, n) == 0 && !isalnum((unsigned char)s[n]) && s[n] != '_';
}

static const char *word_next(const char *s)
{
    while (*s && !isspace((unsigned char)*s))
        s++;
    while (isspace((unsigned char)*s))
        s++;
    return s;
}

/* Finds the table that one of our statements is about. */
static void table_of(const char *sql, char out[DB_IDENT_ROOM])
{
    const char *s = sql;
    bool is_update = word_is(s, "UPDATE");
    while (*s && !(is_update ? s != sql && !word_is(s, "IGNORE") && !word_is(s, "LOW_PRIORITY")
                             : word_is(s, "INTO") || word_is(s, "FROM")))
        s = word_next(s);
    if (!is_update)
        s = word_next(s);
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    name_copy(out, s, len);
}

static bool is_ident(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* An unknown column is reported as 'j.status'. This finds the table that the statement calls j. */
static void table_of_alias(const char *message, const char *sql, char out[DB_IDENT_ROOM])
{
    const char *alias = strchr(message, '\''), *dot = alias ? strchr(alias, '.') : NULL,
               *end = alias ? strchr(alias + 1, '\'') : NULL;
    size_t len = dot && end && dot < end ? (size_t)(dot - alias - 1) : 0;
    for (const char *s = sql; len && *s; s++) {
        const char *last = s;
        if (s == sql || s[-1] != ' ' || strncmp(s, alias + 1, len) != 0 || is_ident(s[len]) || s[len] == '.')
            continue;
        while (last > sql && last[-1] == ' ')
            last--;
        const char *first = last;
        while (first > sql && is_ident(first[-1]))
            first--;
        if (last - first > 2) /* not AS, ON, OR */
            name_copy(out, first, (size_t)(last - first));
        return;
    }
}

/* Copies s without control characters, cut at a character boundary. */
static void text_copy(char *out, size_t room, const char *s)
{
    size_t n = 0;
    for (; *s && n + 1 < room; s++)
        if ((unsigned char)*s >= 0x20 && *s != 0x7f)
            out[n++] = *s;
    if (*s)
        while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
            n--;
    if (*s && n && (unsigned char)out[n - 1] >= 0xc0)
        n--;
    out[n] = 0;
}

/* ---- a refusal ---------------------------------------------------------------------------------------------- */

static void from_chains(struct db_refusal *out, const char *message)
{
    char name[3][DB_IDENT_ROOM];
    unsigned n;
    switch (out->number) {
    case 1216:
    case 1217:
    case 1451:
    case 1452: /* (`db`.`table`, CONSTRAINT `name` FOREIGN KEY (...) REFERENCES ...) */
    case 1557:
        if ((n = chain_find(message, 0, name)))
            strcpy(out->table, name[n - 1]);
        if ((n = chain_find(message, 1, name)))
            strcpy(out->constraint, name[n - 1]);
        break;
    case 4025: /* CONSTRAINT `name` failed for `db`.`table`; for a column's check the name is `table`.`column` */
        if ((n = chain_find(message, 0, name)))
            strcpy(out->constraint, name[n - 1]);
        if ((n = chain_find(message, 1, name)))
            strcpy(out->table, name[n - 1]);
        break;
    case 1142:
    case 1369: /* `db`.`table` */
        if ((n = chain_find(message, -1, name)))
            strcpy(out->table, name[n - 1]);
        break;
    default: /* ... for column `db`.`table`.`column`; a value with arbitrary quotes may precede it */
        if ((n = chain_find(message, -1, name)) == 3) {
            strcpy(out->table, name[1]);
            strcpy(out->column, name[2]);
        }
        break;
    }
}

static void from_quotes(struct db_refusal *out, const char *message)
{
    switch (out->number) {
    case 1022:
    case 1062:
    case 1586:
    case 1859: /* ... for key 'name' */
        quoted_find(message, true, out->constraint);
        break;
    case 3819:
        quoted_find(message, false, out->constraint);
        break;
    case 1146:
    case 1288:
    case 1356:
    case 1442:
    case 1471:
        quoted_find(message, false, out->table);
        break;
    case 1048:
    case 1054:
    case 1264:
    case 1265:
    case 1364:
    case 1406:
    case 1906:
        if (!out->column[0])
            quoted_find(message, false, out->column);
        break;
    default:
        break;
    }
}

void db_refusal_read(struct db_refusal *out, unsigned number, const char *message, const char *sql)
{
    const struct row *row = row_of(number);
    bool is_signal = !row || number == 1643 || number == 1644;
    memset(out, 0, sizeof(*out));
    out->number = number;
    text_copy(out->text, sizeof(out->text), is_signal ? message : row->name);
    if (!is_signal)
        from_chains(out, message);
    from_quotes(out, message);
    if (number == 1054)
        table_of_alias(message, sql, out->table);
    if (!out->table[0])
        table_of(sql, out->table);
}

void db_refusal_words(const struct db_refusal *r, char *out, unsigned room)
{
    if (r->constraint[0])
        snprintf(out, room, "constraint %s of table %s", r->constraint, r->table);
    else if (r->column[0])
        snprintf(out, room, "column %s of table %s (%s)", r->column, r->table, r->text);
    else
        snprintf(out, room, "table %s (%s)", r->table, r->text);
}
