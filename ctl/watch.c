/* SPDX-License-Identifier: MIT */
/*
 * watch.c - `chasqui stats --watch`: all of it on one screen, in tabs. The numbers
 * come each second and cost the database nothing; a tab that asks the database
 * (batches, jobs, sessions, errors) does so every five seconds while it is shown,
 * and at once when somebody opens something.
 *
 * Owns the screen and what was asked for. A broker that does not answer is said
 * on the screen; the keys go on working.
 */
#include "ctl/watch.h"

#include "common/check.h"
#include "common/clock.h"
#include "ctl/broker.h"
#include "ctl/colour.h"
#include "ctl/screen.h"
#include "ctl/stats_view.h"
#include "ctl/table.h"
#include "ctl/watch_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATS_PATH "/api/v1/ops/stats?history=0"
#define EVERY_MS 1000
#define LIST_EVERY_MS 5000
#define ASK_MS 3000
#define ALL_ROWS 100000 /* as on a screen, and nothing is cut: it scrolls */

struct source {
    struct jv *body;   /* NULL = none */
    uint64_t asked_ms; /* 0 = it is due */
    char why[400];     /* it could not be had */
};

struct watch {
    struct ctl *c;
    enum tab tab;
    struct watch_list list[TAB_COUNT];
    struct source stats, rows, opened, under;
    bool is_open; /* a row of the tab is shown alone */
    char open_id[128], open_of[128];
    int scroll; /* of what is no list: the first line shown */
    int lines;  /* of it, at the last drawing */
    bool is_help, is_paused, is_typing, with_colour;
    int columns, height;
};

/* ---- asking ------------------------------------------------------------------------------------------------- */

static void source_free(struct source *s)
{
    jv_free(s->body);
    *s = (struct source){0};
}

static void source_ask(struct watch *w, struct source *s, const char *path)
{
    struct http_request request = {
        .method = "GET", .base_url = w->c->conf->ctl_ops_url, .path = path, .total_ms = ASK_MS};
    struct http_answer answer;
    http_ask(w->c, &request, &answer);
    s->asked_ms = clock_ms();
    jv_free(s->body);
    s->body = NULL;
    if (broker_is_good(&answer)) {
        s->body = answer.body;
        return;
    }
    if (!answer.status)
        snprintf(s->why, sizeof(s->why), "no broker answers at %s: %s", request.base_url, answer.why);
    else if (answer.status == 401 || answer.status == 403)
        snprintf(s->why, sizeof(s->why), "%s answered %d; is ctl.token set, with the ability ops:read?",
                 request.base_url, answer.status);
    else
        snprintf(s->why, sizeof(s->why), "%s answered %d %s", request.base_url, answer.status,
                 jv_str(jv_get(answer.body, "error")) ? jv_str(jv_get(answer.body, "error")) : "");
    jv_free(answer.body);
}

/* A path with the id in place of its %s. */
static void path_fill(const char *path, const char *id, struct buf *out)
{
    const char *hole = strstr(path, "%s");
    buf_addf(out, "%.*s", (int)(hole ? hole - path : (long)strlen(path)), path);
    if (!hole)
        return;
    http_escape(out, id);
    buf_adds(out, hole + 2);
}

static void ask_path(struct watch *w, struct source *s, const char *path, const char *id)
{
    struct buf full = {0};
    path_fill(path, id, &full);
    source_ask(w, s, full.data);
    buf_free(&full);
}

static void rows_ask(struct watch *w)
{
    const struct watch_tab *tab = &watch_tab[w->tab];
    struct buf path = {0};
    buf_adds(&path, tab->path);
    if (tab->is_searched && *w->list[w->tab].filter) {
        buf_adds(&path, "&search=");
        http_escape(&path, w->list[w->tab].filter);
    }
    source_ask(w, &w->rows, path.data);
    buf_free(&path);
}

static bool is_due(const struct source *s, uint64_t every_ms)
{
    return !s->asked_ms || clock_ms() >= s->asked_ms + every_ms;
}

static void refresh(struct watch *w)
{
    const struct watch_tab *tab = &watch_tab[w->tab];
    if (w->is_paused && w->stats.asked_ms)
        return;
    if (is_due(&w->stats, EVERY_MS - 100))
        source_ask(w, &w->stats, STATS_PATH);
    if (!w->stats.body)
        return; /* one thing is wrong, and is said once */
    if (tab->path && !w->is_open && is_due(&w->rows, LIST_EVERY_MS))
        rows_ask(w);
    if (w->is_open && tab->open && is_due(&w->opened, LIST_EVERY_MS))
        ask_path(w, &w->opened, tab->open, w->open_of);
    if (w->is_open && tab->under && is_due(&w->under, LIST_EVERY_MS))
        ask_path(w, &w->under, tab->under, w->open_id);
}

/* ---- drawing ------------------------------------------------------------------------------------------------ */

static const char *style(const struct watch *w, const char *escape)
{
    return w->with_colour ? escape : "";
}

static const struct jv *list_of(const struct watch *w)
{
    const struct watch_tab *tab = &watch_tab[w->tab];
    return watch_member(tab->path ? w->rows.body : w->stats.body, tab->list);
}

static const char *text_of(const struct jv *v, char out[128])
{
    int64_t n;
    if (jv_str(v))
        snprintf(out, 128, "%s", jv_str(v));
    else if (jv_int(v, &n))
        snprintf(out, 128, "%lld", (long long)n);
    else
        out[0] = 0;
    return out;
}

/* How it is, in a line or two. */
static void head_put(struct watch *w, struct buf *out)
{
    const struct jv *words = jv_get(w->stats.body, "words");
    const char *state = jv_str(jv_get(w->stats.body, "state")), *text = jv_str(jv_get(jv_at(words, 0), "text")),
               *at = jv_str(jv_get(w->stats.body, "as_of"));
    bool is_bad = state && strcmp(state, "bad") == 0, is_warn = state && strcmp(state, "warn") == 0;
    struct buf line = {0};
    buf_addf(&line, "%s  %s", state ? state : "?", text ? text : "");
    if (jv_len(words) > 1)
        buf_addf(&line, " (+%zu)", jv_len(words) - 1);
    buf_adds(out, style(w, is_bad ? "\033[1;31m" : is_warn ? "\033[1;33m" : "\033[1;32m"));
    table_cut(out, line.data, w->columns);
    buf_adds(out, style(w, COLOUR_PLAIN));
    buf_clear(&line);
    buf_addf(&line, "%.8s UTC%s", at && strlen(at) >= 19 ? at + 11 : "-",
             w->is_paused ? "  paused: space goes on" : "");
    buf_adds(out, "\n");
    table_cut(out, line.data, w->columns);
    buf_adds(out, "\n");
    buf_free(&line);
}

/* The lines of `text` from w->scroll on, `room` at most. */
static void scrolled_put(struct watch *w, const char *text, int room, struct buf *out)
{
    w->lines = 0;
    for (const char *p = text; *p; p++)
        w->lines += *p == '\n';
    if (w->scroll > w->lines - room)
        w->scroll = w->lines - room;
    if (w->scroll < 0)
        w->scroll = 0;
    int line = 0;
    for (const char *at = text; *at && line < w->scroll + room; line++) {
        size_t len = strcspn(at, "\n");
        if (line >= w->scroll) {
            buf_add(out, at, len);
            buf_adds(out, "\n");
        }
        at += len + (at[len] == '\n');
    }
}

static void help_put(struct buf *out)
{
    buf_adds(out, "\n"
                  "  1 to 8, Tab, left, right   another tab\n"
                  "  up, down, j, k             another row; PgUp, PgDn, Home, End\n"
                  "  Enter                      all about this row; Esc goes back\n"
                  "  s, S                       sort by the next column, the last; r turns it\n"
                  "  /                          only rows that hold this; Enter takes it\n"
                  "                             (among jobs: a company, a job, a session)\n"
                  "  space                      hold the picture still\n"
                  "  ?                          this text\n"
                  "  q                          end\n"
                  "\n"
                  "  Numbers come each second; batches, jobs, sessions and errors every five.\n"
                  "  Errors are those of the last 24 hours. Times are UTC.\n");
}

static void open_put(struct watch *w, int room, struct buf *out)
{
    const struct watch_tab *tab = &watch_tab[w->tab];
    const struct jv *row = NULL, *list = list_of(w);
    struct buf text = {0};
    char id[128];
    buf_addf(&text, "%s%s: %s%s\n", style(w, COLOUR_BOLD), tab->title, w->open_id, style(w, COLOUR_PLAIN));
    for (size_t i = 0; i < jv_len(list) && !row; i++)
        if (strcmp(text_of(jv_get(jv_at(list, i), tab->id), id), w->open_id) == 0)
            row = jv_at(list, i);
    if (tab->open && w->opened.body)
        watch_object_text(w->opened.body, w->columns, &text);
    else if (row && (!tab->open || w->opened.asked_ms))
        watch_object_text(row, w->columns, &text);
    else if (!row && !tab->open)
        buf_adds(&text, "it is not there any more\n");
    if (tab->under && w->under.body) {
        buf_adds(&text, "\n");
        watch_object_text(w->under.body, w->columns, &text);
    }
    scrolled_put(w, text.data, room, out);
    buf_free(&text);
}

static void list_put(struct watch *w, int room, struct buf *out)
{
    struct watch_list *l = &w->list[w->tab];
    const struct watch_tab *tab = &watch_tab[w->tab];
    if (tab->path && !w->rows.body && w->rows.asked_ms) {
        table_cut(out, w->rows.why, w->columns);
        buf_adds(out, "\n");
        return;
    }
    struct buf line = {0};
    buf_addf(&line, "%s", tab->title);
    if (l->sort >= 0)
        buf_addf(&line, "  by %s%s", watch_column(w->tab, (unsigned)l->sort),
                 l->is_descending ? ", the most first" : "");
    if (*l->filter || w->is_typing)
        buf_addf(&line, "  /%s%s", l->filter, w->is_typing ? "_" : "");
    buf_adds(out, style(w, COLOUR_BOLD));
    table_cut(out, line.data, w->columns);
    buf_addf(out, "%s\n", style(w, COLOUR_PLAIN));
    buf_free(&line);
    watch_list_text(w->tab, list_of(w), l, w->columns, room - 1, w->with_colour, out);
    if (!l->shown)
        buf_adds(out, tab->path && !w->rows.asked_ms ? "asking ...\n"
                      : *l->filter                   ? "nothing is like that\n"
                                                     : "nothing\n");
}

/* The tabs, as many as fit, and the keys. */
static void foot_put(const struct watch *w, struct buf *out)
{
    int at = 0;
    for (unsigned i = 0; i < TAB_COUNT; i++) {
        int len = 2 + (int)strlen(watch_tab[i].title);
        if (at + len + (i > 0) > w->columns)
            break;
        at += len + (i > 0);
        bool is_here = i == w->tab;
        buf_addf(out, "%s%s%u %s%s", i ? " " : "", is_here ? "\033[7m" : "", i + 1, watch_tab[i].title,
                 is_here ? "\033[0m" : "");
    }
    struct buf keys = {0};
    buf_adds(&keys, "q ends this  ? keys");
    if (w->is_open)
        buf_adds(&keys, "  Esc back");
    else if (w->tab != TAB_ALL)
        buf_adds(&keys, "  Enter opens  s sorts  / filters");
    buf_adds(out, "\n");
    table_cut(out, keys.data, w->columns);
    buf_free(&keys);
}

static void draw(struct watch *w)
{
    struct buf out = {0};
    screen_size(&w->columns, &w->height);
    int room = w->height > 6 ? w->height - 2 : 4; /* above the foot */
    buf_adds(&out, "");
    if (!w->stats.body) {
        table_cut(&out, w->stats.why, w->columns);
        buf_adds(&out, "\ntrying again every second\n");
    } else if (w->is_help) {
        head_put(w, &out);
        help_put(&out);
    } else if (w->tab == TAB_ALL) {
        struct stats_size size = {w->columns, ALL_ROWS, w->with_colour};
        struct buf text = {0};
        stats_view(w->stats.body, &size, &text);
        scrolled_put(w, text.data, room, &out);
        buf_free(&text);
    } else {
        head_put(w, &out);
        if (w->is_open)
            open_put(w, room - 2, &out);
        else
            list_put(w, room - 2, &out);
    }
    int lines = 0;
    for (size_t i = 0; i < out.len; i++)
        lines += out.data[i] == '\n';
    for (; lines < room; lines++) /* the foot stays where it is */
        buf_adds(&out, "\n");
    foot_put(w, &out);
    screen_draw(out.data);
    buf_free(&out);
}

/* ---- keys --------------------------------------------------------------------------------------------------- */

static void close_row(struct watch *w)
{
    w->is_open = false;
    w->scroll = 0;
    source_free(&w->opened);
    source_free(&w->under);
}

static void go(struct watch *w, int tab)
{
    close_row(w);
    w->tab = (enum tab)((tab + TAB_COUNT) % TAB_COUNT);
    w->is_help = w->is_typing = false;
    source_free(&w->rows);
}

static void move(struct watch *w, int by)
{
    if (w->is_open || w->tab == TAB_ALL)
        w->scroll += by;
    else
        w->list[w->tab].selected += by;
}

static void sort_next(struct watch *w, int by)
{
    struct watch_list *l = &w->list[w->tab];
    int n = (int)watch_columns(w->tab);
    if (w->tab != TAB_ALL && n)
        l->sort = (l->sort + 1 + by + n + 1) % (n + 1) - 1;
}

static void open_row(struct watch *w)
{
    struct watch_list *l = &w->list[w->tab];
    const struct watch_tab *tab = &watch_tab[w->tab];
    struct buf nowhere = {0};
    if (w->tab == TAB_ALL || w->is_open)
        return;
    const struct jv *row = watch_list_text(w->tab, list_of(w), l, w->columns, w->height, false, &nowhere);
    buf_free(&nowhere);
    if (!row)
        return;
    close_row(w);
    text_of(jv_get(row, tab->id), w->open_id);
    if (tab->of)
        text_of(jv_get(row, tab->of), w->open_of);
    w->is_open = true;
}

/* A key while a filter is typed. */
static void type(struct watch *w, int key)
{
    char *filter = w->list[w->tab].filter;
    size_t len = strlen(filter);
    if (key == KEY_ENTER || key == KEY_ESCAPE) {
        w->is_typing = false;
        if (key == KEY_ESCAPE)
            filter[0] = 0;
        w->rows.asked_ms = watch_tab[w->tab].is_searched ? 0 : w->rows.asked_ms;
    } else if (key == KEY_BACKSPACE && len) {
        filter[len - 1] = 0;
    } else if (key > ' ' && key < 0x7f && len + 1 < sizeof(w->list[0].filter)) {
        filter[len] = (char)key;
        filter[len + 1] = 0;
    }
}

/* false: it ends. */
static bool press(struct watch *w, int key)
{
    int page = w->height > 8 ? w->height - 8 : 1;
    if (w->is_typing) {
        type(w, key);
        return true;
    }
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case KEY_ESCAPE:
    case KEY_BACKSPACE:
        if (w->is_help)
            w->is_help = false;
        else
            close_row(w);
        break;
    case '?':
    case 'h':
        w->is_help = !w->is_help;
        break;
    case ' ':
        w->is_paused = !w->is_paused;
        break;
    case KEY_UP:
    case 'k':
        move(w, -1);
        break;
    case KEY_DOWN:
    case 'j':
        move(w, 1);
        break;
    case KEY_PAGE_UP:
        move(w, -page);
        break;
    case KEY_PAGE_DOWN:
        move(w, page);
        break;
    case KEY_HOME:
        move(w, -ALL_ROWS);
        break;
    case KEY_LAST:
        move(w, ALL_ROWS);
        break;
    case KEY_LEFT:
    case KEY_TAB_BACK:
        go(w, (int)w->tab - 1);
        break;
    case KEY_RIGHT:
    case KEY_TAB:
        go(w, (int)w->tab + 1);
        break;
    case 's':
        sort_next(w, 1);
        break;
    case 'S':
        sort_next(w, -1);
        break;
    case 'r':
        w->list[w->tab].is_descending = !w->list[w->tab].is_descending;
        break;
    case '/':
        w->is_typing = w->tab != TAB_ALL && !w->is_open;
        break;
    case KEY_ENTER:
        open_row(w);
        break;
    default:
        if (key >= '1' && key < '1' + TAB_COUNT)
            go(w, key - '1');
    }
    return true;
}

enum ctl_exit watch_command(struct ctl *c)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    struct screen *screen = screen_open();
    int key = KEY_NONE;
    w->c = c;
    w->with_colour = colour_wanted(STDOUT_FILENO);
    for (unsigned i = 0; i < TAB_COUNT; i++) {
        w->list[i].sort = watch_tab[i].sort;
        w->list[i].is_descending = watch_tab[i].is_descending;
    }
    do {
        refresh(w);
        draw(w);
        key = screen_key(screen, EVERY_MS);
    } while (key != KEY_END_OF_INPUT && press(w, key));
    screen_close(&screen);
    close_row(w);
    source_free(&w->rows);
    source_free(&w->stats);
    free(w);
    return CTL_DONE;
}
