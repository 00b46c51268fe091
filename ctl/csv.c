/*
 * csv.c - a row at a time: the bytes of its fields stand one behind the other,
 * each with its NUL. After a mistake everything up to the end of the line is
 * passed over, and the row is told as bad.
 */
#include "ctl/csv.h"

#include "common/buf.h"
#include "common/check.h"

#include <stdbool.h>
#include <stdlib.h>

enum state {
    FIELD_BEGINS,
    PLAIN,
    QUOTED,
    QUOTE_IN_QUOTED, /* its end, or the first of two */
    PASS_OVER        /* the rest of a bad line */
};

struct csv {
    csv_fn *fn;
    void *arg;
    enum state state;
    bool is_cr;    /* the last byte was a CR outside quotes */
    bool is_begun; /* the row has a byte */
    unsigned mark; /* bytes of the byte order mark that were seen */
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
    if (*cp)
        buf_wipe(&(*cp)->bytes);
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
    if (c->state == QUOTE_IN_QUOTED)
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
        add(c, '\0');
    row_end(c);
}

static void quote_take(struct csv *c)
{
    switch (c->state) {
    case FIELD_BEGINS:
        c->state = QUOTED;
        return;
    case PLAIN:
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
    if (c->is_cr) {
        c->is_cr = false;
        if (byte != '\n' && c->is_begun)
            byte_take(c, '\r');
    }
    if (byte == '\r' && c->state != QUOTED) {
        c->is_cr = true;
        return;
    }
    if (byte == '\n') {
        line_end(c);
        return;
    }
    if (!c->is_begun)
        row_begin(c);
    if (byte == '"') {
        quote_take(c);
    } else if (byte == ',' && c->state != QUOTED && c->state != PASS_OVER) {
        add(c, '\0');
        if (c->state != PASS_OVER) {
            c->state = FIELD_BEGINS;
            field_begin(c);
        }
    } else {
        if (c->state == FIELD_BEGINS)
            c->state = PLAIN;
        byte_take(c, byte);
    }
}

void csv_feed(struct csv *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (c->mark < sizeof(mark) && (unsigned char)data[i] == mark[c->mark]) {
            c->mark++;
            continue;
        }
        for (unsigned k = 0; c->mark < sizeof(mark) && k < c->mark; k++)
            feed_byte(c, (char)mark[k]); /* it was none after all */
        c->mark = sizeof(mark);
        feed_byte(c, data[i]);
    }
}

void csv_end(struct csv *c)
{
    if (c->state == QUOTED) {
        c->bad = "a quote is opened and never closed";
        c->state = PASS_OVER;
    }
    if (c->is_begun)
        line_end(c);
}
