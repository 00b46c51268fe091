/*
 * table.c - columns as wide as their widest cell; when standard output is a
 * terminal that is too narrow, cells of the columns that allow it are cut.
 * What robots and clients told is printed: control characters never reach the
 * terminal.
 */
#include "ctl/table.h"

#include "common/check.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMNS_MAX 16
#define GAP 2
#define CUT_LEAST 8 /* a column is not cut below this */

struct column {
    const char *head;
    bool right, cut;
    int width;
};

struct table {
    unsigned n_columns;
    struct column column[COLUMNS_MAX];
    char **cell;
    unsigned n_cells, room;
};

/* The next character: its bytes and its columns on the screen; `ok` false for what is not printed as it is. */
static size_t character(const char *s, int *columns, bool *ok)
{
    wchar_t wide;
    mbstate_t state = {0};
    size_t len = mbrtowc(&wide, s, strlen(s), &state);
    if (len == (size_t)-1 || len == (size_t)-2 || len == 0) {
        *columns = 1;
        *ok = false;
        return 1;
    }
    *columns = wcwidth(wide);
    *ok = *columns >= 0;
    if (!*ok)
        *columns = 1;
    return len;
}

static int width_of(const char *s)
{
    int width = 0, columns;
    bool ok;
    while (*s) {
        s += character(s, &columns, &ok);
        width += columns;
    }
    return width;
}

static char *printable(const char *s)
{
    char *out = xmalloc(strlen(s) + 1), *to = out;
    while (*s) {
        int columns;
        bool ok;
        size_t len = character(s, &columns, &ok);
        if (ok) {
            memcpy(to, s, len);
            to += len;
        } else {
            *to++ = '?';
        }
        s += len;
    }
    *to = 0;
    return out;
}

struct table *table_new(const char *const *heads)
{
    struct table *t = xcalloc(1, sizeof(*t));
    for (; *heads; heads++) {
        CHECK(t->n_columns < COLUMNS_MAX, "%u columns", t->n_columns);
        struct column *c = &t->column[t->n_columns++];
        const char *head = *heads;
        for (; *head == '>' || *head == '~'; head++) {
            c->right |= *head == '>';
            c->cut |= *head == '~';
        }
        c->head = head;
        c->width = width_of(head);
    }
    return t;
}

void table_add(struct table *t, const char *text)
{
    struct column *c = &t->column[t->n_cells % t->n_columns];
    if (t->n_cells == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->cell = xrealloc(t->cell, t->room * sizeof(*t->cell));
    }
    char *cell = printable(text && *text ? text : "-");
    int width = width_of(cell);
    t->cell[t->n_cells++] = cell;
    if (width > c->width)
        c->width = width;
}

void table_addf(struct table *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    table_add(t, text);
}

static int terminal_width(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* Takes what is too much from the widest column that may be cut, again and again. */
static void fit(struct table *t, int room)
{
    int width = -GAP;
    for (unsigned i = 0; i < t->n_columns; i++)
        width += t->column[i].width + GAP;
    while (room > 0 && width > room) {
        struct column *widest = NULL;
        for (unsigned i = 0; i < t->n_columns; i++)
            if (t->column[i].cut && t->column[i].width > CUT_LEAST &&
                (!widest || t->column[i].width > widest->width))
                widest = &t->column[i];
        if (!widest)
            return;
        widest->width--;
        width--;
    }
}

static void pad(struct buf *out, int n)
{
    for (; n > 0; n--)
        buf_adds(out, " ");
}

/* Cut to `room` columns, with one for the sign of it; answers how many it took. */
static int add_cut(struct buf *out, const char *text, int room)
{
    int used = 0, columns;
    bool ok;
    if (width_of(text) <= room) {
        buf_adds(out, text);
        return width_of(text);
    }
    for (;;) {
        size_t len = character(text, &columns, &ok);
        if (used + columns > room - 1)
            break;
        buf_add(out, text, len);
        text += len;
        used += columns;
    }
    buf_adds(out, "…");
    return used + 1;
}

void table_cut(struct buf *out, const char *text, int room)
{
    char *plain = printable(text);
    add_cut(out, plain, room);
    free(plain);
}

static void add_cell(struct buf *out, const struct table *t, unsigned col, const char *text)
{
    const struct column *c = &t->column[col];
    int width = width_of(text), room = c->width;
    if (c->right)
        pad(out, room - width);
    width = add_cut(out, text, room);
    if (col + 1 != t->n_columns)
        pad(out, (c->right ? 0 : room - width) + GAP);
}

void table_text(struct table **tp, int room, struct buf *out)
{
    struct table *t = *tp;
    CHECK(t->n_cells % t->n_columns == 0, "%u cells in %u columns", t->n_cells, t->n_columns);
    fit(t, room);
    for (unsigned i = 0; i < t->n_columns; i++)
        add_cell(out, t, i, t->column[i].head);
    buf_adds(out, "\n");
    for (unsigned i = 0; i < t->n_cells; i++) {
        add_cell(out, t, i % t->n_columns, t->cell[i]);
        if ((i + 1) % t->n_columns == 0)
            buf_adds(out, "\n");
    }
    table_free(tp);
}

void table_print(struct table **tp, const char *empty)
{
    struct buf out = {0};
    bool is_empty = !(*tp)->n_cells;
    table_text(tp, terminal_width(), &out);
    fputs(is_empty ? empty : out.data, stdout);
    if (is_empty)
        putchar('\n');
    buf_free(&out);
}

void table_free(struct table **tp)
{
    struct table *t = *tp;
    for (unsigned i = 0; i < t->n_cells; i++)
        free(t->cell[i]);
    free(t->cell);
    free(t);
    *tp = NULL;
}
