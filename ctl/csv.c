/* SPDX-License-Identifier: MIT */
/*
 * csv.c - a row at a time: the bytes of its fields stand one behind the other,
 * each with its NUL. After a mistake everything up to the end of the line is
 * passed over, and the row is told as bad. The first line is kept until its end:
 * it says what separates the columns.
 */
#include "ctl/csv.h"

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum state {
    FIELD_BEGINS,
    PLAIN,
    QUOTED,
    QUOTE_IN_QUOTED, /* its end, or the first of two */
    QUOTED_ENDED,    /* and blanks behind it */
    PASS_OVER        /* the rest of a bad line */
};

struct csv {
    csv_fn *fn;
    void *arg;
    enum state state;
    char separator;  /* 0 = not known yet */
    struct buf head; /* the first line until it is */
    bool is_cr;      /* the last byte was a CR that ended a line */
    bool is_begun;   /* the row has a byte */
    unsigned mark;   /* bytes of the byte order mark that were seen */
    uint64_t line, row_line;
    const char *bad;
    struct buf bytes;
    size_t start[CSV_FIELDS_MAX]; /* of each field in `bytes` */
    unsigned n;
};

static const unsigned char mark[] = {0xef, 0xbb, 0xbf};

struct csv *csv_new(csv_fn *fn, void *arg)
{
    struct csv *c = xcalloc(1, sizeof(*c));
    c->fn = fn;
    c->arg = arg;
    c->line = c->row_line = 1;
    return c;
}

void csv_destroy(struct csv **cp)
{
    if (*cp) {
        buf_wipe(&(*cp)->bytes);
        buf_wipe(&(*cp)->head);
    }
    free(*cp);
    *cp = NULL;
}

static void spoil(struct csv *c, const char *why)
{
    c->bad = why;
    c->state = PASS_OVER;
}

static void add(struct csv *c, char byte)
{
    if (c->bytes.len >= CSV_ROW_BYTES_MAX)
        spoil(c, "the row is longer than 20,000 bytes");
    else
        buf_add(&c->bytes, &byte, 1);
}

static void field_begin(struct csv *c)
{
    if (c->n == CSV_FIELDS_MAX)
        spoil(c, "the row has more than 200 fields");
    else
        c->start[c->n++] = c->bytes.len;
}

static bool is_blank(const struct csv *c, char byte)
{
    return byte == ' ' || (byte == '\t' && c->separator != '\t');
}

/* Blanks round a field that is not quoted are none of it. */
static void field_end(struct csv *c)
{
    while (c->state == PLAIN && c->bytes.len > c->start[c->n - 1] && is_blank(c, c->bytes.data[c->bytes.len - 1]))
        c->bytes.len--;
    add(c, '\0');
}

static void row_end(struct csv *c)
{
    const char *field[CSV_FIELDS_MAX];
    struct csv_row row = {.line = c->row_line, .bad = c->bad, .n = c->bad ? 0 : c->n, .field = field};
    for (unsigned i = 0; i < row.n; i++)
        field[i] = c->bytes.data + c->start[i];
    if (c->is_begun)
        c->fn(c->arg, &row);
    buf_clear(&c->bytes);
    c->n = 0;
    c->bad = NULL;
    c->state = FIELD_BEGINS;
    c->is_begun = false;
    c->row_line = c->line;
}

/* A byte that is neither quote, comma nor line end, or one of those where they mean nothing. */
static void byte_take(struct csv *c, char byte)
{
    if (c->state == QUOTE_IN_QUOTED || c->state == QUOTED_ENDED)
        spoil(c, "there is something behind a closing quote");
    else if (!byte)
        spoil(c, "it holds a NUL");
    else if (c->state != PASS_OVER)
        add(c, byte);
}

static void line_end(struct csv *c)
{
    c->line++;
    if (c->state == QUOTED) {
        add(c, '\n');
        return;
    }
    if (c->is_begun && c->state != PASS_OVER)
        field_end(c);
    row_end(c);
}

static void quote_take(struct csv *c)
{
    switch (c->state) {
    case FIELD_BEGINS:
        c->state = QUOTED;
        return;
    case PLAIN:
        if (c->bytes.len == c->start[c->n - 1] + 1 &&
            c->bytes.data[c->bytes.len - 1] == '=') { /* ="007", so that Excel takes it for a text */
            c->bytes.len--;
            c->state = QUOTED;
            return;
        }
        spoil(c, "there is a quote inside a field that does not begin with one");
        return;
    case QUOTED:
        c->state = QUOTE_IN_QUOTED;
        return;
    case QUOTE_IN_QUOTED:
        add(c, '"');
        if (c->state != PASS_OVER)
            c->state = QUOTED;
        return;
    case QUOTED_ENDED:
        byte_take(c, '"');
        return;
    case PASS_OVER:
        return;
    }
}

static void row_begin(struct csv *c)
{
    c->is_begun = true;
    field_begin(c);
}

static void feed_byte(struct csv *c, char byte)
{
    bool was_cr = c->is_cr;
    c->is_cr = byte == '\r' && c->state != QUOTED;
    if (c->is_cr || byte == '\n') {
        if (c->is_cr || !was_cr)
            line_end(c);
        return;
    }
    if (!c->is_begun)
        row_begin(c);
    if (byte == '"') {
        quote_take(c);
    } else if (byte == c->separator && c->state != QUOTED && c->state != PASS_OVER) {
        field_end(c);
        if (c->state != PASS_OVER) {
            c->state = FIELD_BEGINS;
            field_begin(c);
        }
    } else if (is_blank(c, byte) &&
               (c->state == FIELD_BEGINS || c->state == QUOTE_IN_QUOTED || c->state == QUOTED_ENDED)) {
        if (c->state == QUOTE_IN_QUOTED)
            c->state = QUOTED_ENDED;
    } else {
        if (c->state == FIELD_BEGINS)
            c->state = PLAIN;
        byte_take(c, byte);
    }
}

/* ---- what separates the columns ----------------------------------------------------------------------------- */

static const char separators[] = ",;\t|";

bool csv_is_company(const char *name, size_t len, size_t *used)
{
    size_t at = 7;
    if (len < 9 || strncasecmp(name, "company", 7) != 0)
        return false;
    at += strchr("_- ", name[at]) && name[at];
    if (len - at < 2 || strncasecmp(name + at, "id", 2) != 0)
        return false;
    *used = at + 2;
    return true;
}

/* The separator that is nearest from `at` in that direction, nothing but blanks and quotes between; 0 = none. */
static char separator_near(const char *line, size_t len, size_t at, int step)
{
    for (; at < len; at += (size_t)step) {
        if (line[at] && strchr(separators, line[at]))
            return line[at];
        if (line[at] != ' ' && line[at] != '"')
            break;
    }
    return 0;
}

/* The separator beside the name company_id; else the most frequent one. */
static char separator_of(const char *line, size_t len)
{
    size_t most = 0, used;
    char best = ',';
    for (size_t at = 0; at < len; at++) {
        if (!csv_is_company(line + at, len - at, &used))
            continue;
        char found = separator_near(line, len, at + used, 1);
        if (!found && at)
            found = separator_near(line, len, at - 1, -1);
        if (found)
            return found;
    }
    for (const char *s = separators; *s; s++) {
        size_t n = 0;
        for (size_t at = 0; at < len; at++)
            n += line[at] == *s;
        if (n > most) {
            most = n;
            best = *s;
        }
    }
    return best;
}

/* "sep=;" in a line of its own: Excel's way to say it. 0 = it is no such line. */
static char separator_said(const char *line, size_t len)
{
    if (len >= 2 && line[0] == '"' && line[len - 1] == '"') {
        line++;
        len -= 2;
    }
    return len == 5 && strncasecmp(line, "sep=", 4) == 0 && strchr(separators, line[4]) ? line[4] : 0;
}

/* The first line is there, or as much of it as is waited for. */
static void head_end(struct csv *c)
{
    char said = separator_said(c->head.data, c->head.len);
    c->separator = said ? said : separator_of(c->head.data, c->head.len);
    for (size_t i = 0; i < c->head.len && !said; i++)
        feed_byte(c, c->head.data[i]);
    buf_wipe(&c->head);
}

static void head_byte(struct csv *c, char byte)
{
    bool is_end = byte == '\n' || byte == '\r';
    if (!is_end)
        buf_add(&c->head, &byte, 1);
    if (is_end ? c->head.len != 0 : c->head.len > CSV_ROW_BYTES_MAX)
        head_end(c);
    if (is_end)
        feed_byte(c, byte);
}

static void take_byte(struct csv *c, char byte)
{
    if (c->separator)
        feed_byte(c, byte);
    else
        head_byte(c, byte);
}

void csv_feed(struct csv *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (c->mark < sizeof(mark) && (unsigned char)data[i] == mark[c->mark]) {
            c->mark++;
            continue;
        }
        for (unsigned k = 0; c->mark < sizeof(mark) && k < c->mark; k++)
            take_byte(c, (char)mark[k]); /* it was none after all */
        c->mark = sizeof(mark);
        take_byte(c, data[i]);
    }
}

void csv_end(struct csv *c)
{
    if (!c->separator && c->head.len)
        head_end(c);
    if (c->state == QUOTED) {
        c->bad = "a quote is opened and never closed";
        c->state = PASS_OVER;
    }
    if (c->is_begun)
        line_end(c);
}
