/* SPDX-License-Identifier: MIT */
/*
 * progress.c - one line that is drawn again in place, cut to the terminal's
 * width; where standard error is no terminal, a line now and then.
 */
#include "ctl/progress.h"

#include "common/clock.h"
#include "ctl/plain.h"
#include "ctl/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MAX 200
#define BAR_MIN 10
#define BAR_MAX 40
#define DRAW_MS 200       /* a terminal is drawn this often at most */
#define TELL_MS 10000     /* and a line written */
#define DETAILS_BYTES 600 /* the text behind the bar; a reason of a pause may be long */

const char *number_text(uint64_t n, char out[TEXT_NUMBER])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *amount_text(uint64_t n, const char *one, char out[TEXT_AMOUNT])
{
    char number[TEXT_NUMBER];
    snprintf(out, TEXT_AMOUNT, "%s %s%s", number_text(n, number), one, n == 1 ? "" : "s");
    return out;
}

const char *duration_text(uint64_t seconds, char out[TEXT_NUMBER])
{
    if (seconds < 60)
        snprintf(out, TEXT_NUMBER, "%" PRIu64 "s", seconds);
    else if (seconds < 3600)
        snprintf(out, TEXT_NUMBER, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    else
        snprintf(out, TEXT_NUMBER, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    return out;
}

void progress_begin(struct progress *p)
{
    memset(p, 0, sizeof(*p));
    p->is_terminal = isatty(STDERR_FILENO);
}

static int width(void)
{
    struct winsize size;
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : WIDTH_DEFAULT;
    return columns < WIDTH_MAX ? columns : WIDTH_MAX;
}

/* May something be shown now? What is new, and not too soon. */
static bool is_time(struct progress *p, uint64_t shown, bool is_end)
{
    uint64_t now = clock_ms(), pause = p->is_terminal ? DRAW_MS : TELL_MS;
    if (p->drawn_ms && !is_end && now < p->drawn_ms + pause)
        return false;
    if (p->drawn_ms && !p->is_terminal && shown == p->shown && !is_end)
        return false;
    p->drawn_ms = now;
    p->shown = shown;
    return true;
}

/* Columns of a text without control characters. */
static int columns_of(const char *text)
{
    int all = 0, columns;
    for (size_t bytes; *text; text += bytes, all += columns)
        plain_character(text, &bytes, &columns);
    return all;
}

static void draw(struct progress *p, const char *text)
{
    if (p->is_terminal) {
        struct buf line = {0};
        int room = width() - 1; /* the last column stays free: some terminals wrap there */
        table_cut(&line, text, room);
        fprintf(stderr, "\r%s%*s", line.data, room - columns_of(line.data), "");
        buf_free(&line);
    } else {
        plain_line(stderr, "%s", text);
    }
    fflush(stderr);
    p->is_drawn = p->is_terminal;
}

void progress_rows(struct progress *p, uint64_t rows)
{
    char text[100], number[TEXT_AMOUNT];
    if (!is_time(p, rows, false))
        return;
    snprintf(text, sizeof(text), "%s sent", amount_text(rows, "row", number));
    draw(p, text);
}

static uint64_t count_of(const struct jv *counts, const char *state)
{
    int64_t n;
    return jv_int(jv_get(counts, state), &n) && n > 0 ? (uint64_t)n : 0;
}

/* "  12 failed", when there are any. */
static void count_add(char *text, size_t room, uint64_t n, const char *state)
{
    char number[TEXT_NUMBER];
    size_t len = strlen(text);
    if (n)
        snprintf(text + len, room - len, "  %s %s", number_text(n, number), state);
}

static void bar_draw(struct progress *p, unsigned percent, const char *details)
{
    char text[DETAILS_BYTES + BAR_MAX + 20], bar[BAR_MAX + 1];
    int room = p->is_terminal ? width() - 1 - (int)strlen(details) - 8 : 0; /* the text around the bar */
    room = room < BAR_MAX ? room : BAR_MAX;
    if (room < BAR_MIN) {
        snprintf(text, sizeof(text), "%3u%% %s", percent, details);
    } else {
        memset(bar, '.', (size_t)room);
        memset(bar, '#', (size_t)room * percent / 100);
        bar[room] = 0;
        snprintf(text, sizeof(text), "%3u%% [%s] %s", percent, bar, details);
    }
    draw(p, text);
}

/* -1 = not known. */
static int64_t seconds_of(const struct jv *batch, const char *key)
{
    int64_t s;
    return jv_int(jv_get(batch, key), &s) && s >= 0 ? s : -1;
}

bool progress_end_text(const struct jv *batch, char *out, size_t room)
{
    const struct jv *counts = jv_get(batch, "counts");
    int64_t min_s = seconds_of(batch, "eta_min_s"), max_s = seconds_of(batch, "eta_max_s"),
            oldest_s = seconds_of(batch, "oldest_running_s");
    uint64_t waits = count_of(counts, "queued") + count_of(counts, "retrying"),
             running = count_of(counts, "running");
    char a[TEXT_NUMBER], b[TEXT_NUMBER];
    if (!waits && running && oldest_s >= 0)
        snprintf(out, room, "%s still running, oldest %s", number_text(running, b),
                 duration_text((uint64_t)oldest_s, a));
    else if (min_s >= 0 && max_s >= 0)
        snprintf(out, room, "%s to %s", duration_text((uint64_t)min_s, a), duration_text((uint64_t)max_s, b));
    else if (seconds_of(batch, "eta_s") >= 0) /* a broker of before */
        snprintf(out, room, "%s", duration_text((uint64_t)seconds_of(batch, "eta_s"), a));
    else
        return false;
    return true;
}

/* "  waits: paused: the site is down, until 06:00 UTC": the first of what a batch waits for. */
static void waits_add(char *text, size_t room, const struct jv *one)
{
    const char *reason = jv_str(jv_get(one, "reason")), *detail = jv_str(jv_get(one, "detail")),
               *until = jv_str(jv_get(one, "until"));
    const char *more = jv_str(jv_get(one, "why"));
    size_t len = strlen(text);
    more = more ? more : jv_str(jv_get(one, "error"));
    bool is_short = reason && more;
    snprintf(text + len, room - len, "  waits: %s%s%s", is_short ? reason : "", is_short ? ": " : "",
             is_short ? more
             : detail ? detail
                      : "-");
    len = strlen(text);
    if (until && strlen(until) >= 16)
        snprintf(text + len, room - len, ", until %.10s %.5s UTC", until, until + 11);
}

void progress_batch(struct progress *p, const struct jv *batch)
{
    static const char *const states[] = {"running", "retrying", "failed", "cancelled"};
    const struct jv *counts = jv_get(batch, "counts"), *waits = jv_at(jv_get(batch, "waits_for"), 0);
    const char *status = jv_str(jv_get(batch, "status"));
    uint64_t ended = count_of(counts, "done") + count_of(counts, "failed") + count_of(counts, "cancelled");
    int64_t total = 0;
    char details[DETAILS_BYTES], left[100], a[TEXT_NUMBER], b[TEXT_NUMBER];
    jv_int(jv_get(batch, "total"), &total);
    bool is_end = jv_str(jv_get(batch, "finished_at")) != NULL;
    if (!is_time(p, 2 * ended + (waits != NULL), is_end)) /* a line is written as well when it comes to a stand */
        return;
    unsigned percent = total > 0 ? (unsigned)(ended * 100 / (uint64_t)total) : is_end ? 100 : 0;
    snprintf(details, sizeof(details), "%s/%s", number_text(ended, a), number_text((uint64_t)total, b));
    for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++)
        count_add(details, sizeof(details), count_of(counts, states[i]), states[i]);
    size_t len = strlen(details);
    if (is_end || (status && strcmp(status, "open") == 0))
        snprintf(details + len, sizeof(details) - len, "  %s", status ? status : "");
    else if (progress_end_text(batch, left, sizeof(left)))
        snprintf(details + len, sizeof(details) - len, "  %s%s", strstr(left, "running") ? "" : "ETA ", left);
    if (waits && !is_end)
        waits_add(details, sizeof(details), waits);
    bar_draw(p, percent, details);
}

void progress_part(struct progress *p, uint64_t part, uint64_t whole, const char *details)
{
    if (is_time(p, part, whole && part == whole))
        bar_draw(p, whole ? (unsigned)(part * 100 / whole) : 100, details);
}

void progress_end(struct progress *p)
{
    if (p->is_drawn)
        fprintf(stderr, "\r%-*s\r", width() - 1, "");
    p->is_drawn = false;
}
