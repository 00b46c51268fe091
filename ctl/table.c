/* SPDX-License-Identifier: MIT */
/*
 * table.c - columns as wide as their widest cell; when standard output is a
 * terminal that is too narrow, cells of the columns that allow it are cut, and
 * when that is not enough the least important column is left out.
 */
#include "ctl/table.h"

#include "common/check.h"
#include "ctl/colour.h"
#include "ctl/plain.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MAX 16
#define GAP 2
#define CUT_LEAST 8    /* a column is not cut below this */
#define CUT_LEAST_2 20 /* one of codes, names and addresses */

struct column {
    const char *head;
    bool right;
    bool is_state; /* its words are coloured */
    int least;     /* it may be cut to this; 0 = never */
    int rank;      /* the lowest is left out first; 0 = never */
    int width;     /* of its widest cell */
    int shown;     /* columns it gets; 0 = left out */
};

struct table {
    unsigned n_columns;
    struct column column[COLUMNS_MAX];
    char **cell;
    unsigned n_cells, room;
    bool with_colour;
};

static int width_of(const char *s)
{
    int width = 0, columns;
    for (size_t bytes; *s; s += bytes) {
        plain_character(s, &bytes, &columns);
        width += columns;
    }
    return width;
}

struct table *table_new(const char *const *heads)
{
    struct table *t = xcalloc(1, sizeof(*t));
    for (; *heads; heads++) {
        CHECK(t->n_columns < COLUMNS_MAX, "%u columns", t->n_columns);
        struct column *c = &t->column[t->n_columns++];
        const char *head = *heads;
        c->is_state = *head == '=';
        head += c->is_state;
        for (; *head == '>' || *head == '~' || isdigit((unsigned char)*head); head++)
            if (*head == '>')
                c->right = true;
            else if (*head == '~')
                c->least = c->least ? CUT_LEAST_2 : CUT_LEAST;
            else
                c->rank = *head - '0';
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
    char *cell = plain_text(text && *text ? text : "-");
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

/* Takes what is too much from the widest column that may be cut, again and again. false: that is not enough. */
static bool cut(struct table *t, int room)
{
    int width = -GAP;
    for (struct column *c = t->column; c < t->column + t->n_columns; c++)
        if (c->shown) {
            c->shown = c->width;
            width += c->width + GAP;
        }
    for (; width > room; width--) {
        struct column *widest = NULL;
        for (struct column *c = t->column; c < t->column + t->n_columns; c++)
            if (c->least && c->shown > c->least && (!widest || c->shown > widest->shown))
                widest = c;
        if (!widest)
            return false;
        widest->shown--;
    }
    return true;
}

/* The least important column; false: all that is left is needed. */
static bool leave_out(struct table *t)
{
    struct column *least = NULL;
    for (struct column *c = t->column; c < t->column + t->n_columns; c++)
        if (c->shown && c->rank && (!least || c->rank < least->rank))
            least = c;
    if (least)
        least->shown = 0;
    return least != NULL;
}

static void fit(struct table *t, int room)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        t->column[i].shown = t->column[i].width;
    while (!cut(t, room > 0 ? room : INT_MAX) && leave_out(t))
        ;
}

static void pad(struct buf *out, int n)
{
    for (; n > 0; n--)
        buf_adds(out, " ");
}

/* Cut to `room` columns, with one for the sign of it; answers how many it took. */
static int add_cut(struct buf *out, const char *text, int room)
{
    int used = 0, columns, width = width_of(text);
    if (width <= room) {
        buf_adds(out, text);
        return width;
    }
    for (size_t bytes;; text += bytes, used += columns) {
        plain_character(text, &bytes, &columns);
        if (used + columns > room - 1)
            break;
        buf_add(out, text, bytes);
    }
    buf_adds(out, "…");
    return used + 1;
}

void table_cut(struct buf *out, const char *text, int room)
{
    char *plain = plain_text(text);
    add_cut(out, plain, room);
    free(plain);
}

/* The last cell is not padded. `cell` NULL: the heads. */
static void add_row(struct buf *out, const struct table *t, char *const *cell)
{
    int owed = 0;
    for (unsigned i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->column[i];
        const char *text = cell ? cell[i] : c->head;
        if (!c->shown)
            continue;
        int width = width_of(text);
        pad(out, owed + (c->right && width < c->shown ? c->shown - width : 0));
        const char *colour = !t->with_colour ? "" : !cell ? COLOUR_BOLD : c->is_state ? colour_of(text) : "";
        buf_adds(out, colour);
        width = add_cut(out, text, c->shown);
        buf_adds(out, *colour ? COLOUR_PLAIN : "");
        owed = GAP + (c->right ? 0 : c->shown - width);
    }
    buf_adds(out, "\n");
}

void table_text(struct table **tp, int room, struct buf *out)
{
    struct table *t = *tp;
    CHECK(t->n_cells % t->n_columns == 0, "%u cells in %u columns", t->n_cells, t->n_columns);
    fit(t, room);
    add_row(out, t, NULL);
    for (unsigned i = 0; i < t->n_cells; i += t->n_columns)
        add_row(out, t, t->cell + i);
    table_free(tp);
}

void table_colour(struct table *t, bool with_colour)
{
    t->with_colour = with_colour;
}

void table_print(struct table **tp, const char *empty)
{
    struct buf out = {0};
    bool is_empty = !(*tp)->n_cells;
    table_colour(*tp, colour_wanted(STDOUT_FILENO));
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
