/* SPDX-License-Identifier: MIT */
/*
 * item_file.c - reads a file piece by piece; memory holds a piece, and 8 bytes
 * a line: where it stood. What is read may hold credentials: it is overwritten
 * when it is done with.
 *
 * Files come as spreadsheets and shells write them. UTF-16 is made UTF-8 as it is
 * read (file_text.c); a CSV field that is not UTF-8 is read as Windows-1252, which
 * is what Excel's plain CSV is, and that is said once.
 */
#include "ctl/item_file.h"

#include "common/check.h"
#include "ctl/csv.h"
#include "ctl/file_text.h"
#include "db/batch_line.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define BAD_MAX 1000
#define COLUMN_BYTES 201

enum format { FORMAT_UNKNOWN, FORMAT_CSV, FORMAT_NDJSON, FORMAT_LIST };

struct item_file {
    struct ctl *c;
    const char *path;
    int fd;
    bool is_end, is_broken;
    enum format format;
    struct csv *csv;
    struct jv *columns;   /* CSV: their names; NULL until the first row was read */
    size_t company_at;    /* the one that is company_id */
    char *header_why;     /* what is wrong with the first row */
    const char *file_why; /* what is wrong with the whole file */
    struct file_text text;
    bool is_1252;     /* a field was read so */
    struct buf field; /* a field that was made UTF-8 */
    struct buf line;  /* NDJSON: one whose end was not read yet */
    uint64_t line_no; /* NDJSON: its number */
    bool is_long;     /* and it is too long */
    struct buf out;   /* lines made and not handed out yet */
    size_t out_at;
    uint64_t *lines, n, room;
    struct jv *bad;
    uint64_t bad_total;
};

static void bad_add(struct item_file *f, uint64_t line, const char *why)
{
    if (f->bad_total++ >= BAD_MAX)
        return;
    struct jv *one = jv_new_object();
    jv_set_int(one, "line", (int64_t)line);
    jv_set_str(one, "error", why);
    jv_push(f->bad, one);
}

static void line_add(struct item_file *f, uint64_t line, const char *text, size_t len)
{
    if (f->n == f->room) {
        f->room = f->room ? 2 * f->room : 1024;
        f->lines = xrealloc(f->lines, f->room * sizeof(*f->lines));
    }
    f->lines[f->n++] = line;
    buf_add(&f->out, text, len);
    buf_add(&f->out, "\n", 1);
}

/* ---- CSV ---------------------------------------------------------------------------------------------------- */

/* `what` and a name, "" = none. */
static void header_bad(struct item_file *f, const char *what, const char *name)
{
    struct buf why = {0};
    buf_addf(&why, "%s%s%.60s", what, *name ? " " : "", name);
    f->header_why = buf_take(&why, NULL);
}

/* Says which columns there are, unless it may be a row of credentials: a field that begins with a digit is no name. */
static void company_missing(struct item_file *f, const struct csv_row *row)
{
    struct buf why = {0};
    bool is_data = false;
    for (unsigned i = 0; i < row->n; i++)
        is_data |= isdigit((unsigned char)*row->field[i]) != 0;
    buf_adds(&why, "no column is named company_id; ");
    buf_adds(&why, is_data ? "the first row must name the columns" : "there is");
    for (unsigned i = 0; i < row->n && !is_data; i++)
        buf_addf(&why, "%s %.60s", i ? "," : "", row->field[i]);
    f->header_why = buf_take(&why, NULL);
}

/* The field as UTF-8; NULL when its bytes are no text. Borrowed until the next call. */
static const char *field_text(struct item_file *f, const char *field)
{
    if (jv_text_ok(field, strlen(field)))
        return field;
    buf_wipe(&f->field);
    if (!text_from_1252(field, &f->field))
        return NULL;
    f->is_1252 = true;
    return f->field.data;
}

/* A column's name as robots know it: spreadsheets begin names with a capital, or write all of them so. */
static void name_make(const char *text, char *out, size_t room)
{
    size_t used, len;
    snprintf(out, room, "%s", text);
    while (strncmp(out, "\xc2\xa0", 2) == 0)
        memmove(out, out + 2, strlen(out) - 1);
    for (len = strlen(out); len >= 2 && strcmp(out + len - 2, "\xc2\xa0") == 0; len = strlen(out))
        out[len - 2] = '\0';
    if (csv_is_company(out, len, &used) && !out[used]) {
        snprintf(out, room, "company_id");
        return;
    }
    bool has_small = false, has_later = false;
    for (size_t i = 0; i < len; i++) {
        has_small |= islower((unsigned char)out[i]) != 0;
        has_later |= i && isupper((unsigned char)out[i]);
    }
    for (size_t i = 0; i < len && (!has_small || !has_later); i++)
        out[i] = (char)tolower((unsigned char)out[i]);
}

static void header_take(struct item_file *f, const struct csv_row *row)
{
    static const char *const reserved[] = {"portal", "job_uid", "epoch"};
    bool has_company = false;
    unsigned n = row->n;
    f->columns = jv_new_array();
    if (row->bad)
        header_bad(f, row->bad, "");
    while (n && !*row->field[n - 1]) /* columns that were used once */
        n--;
    for (unsigned i = 0; i < n && !f->header_why; i++) {
        char name[COLUMN_BYTES];
        const char *text = field_text(f, row->field[i]);
        if (!text || strlen(text) >= sizeof(name)) {
            header_bad(f, "the name of a column is no text, or longer than 200 bytes", "");
            break;
        }
        name_make(text, name, sizeof(name));
        if (!*name)
            header_bad(f, "a column has no name", "");
        for (unsigned k = 0; k < i && !f->header_why; k++)
            if (strcmp(name, jv_str(jv_at(f->columns, k))) == 0)
                header_bad(f, "two columns are named", name);
        for (unsigned k = 0; k < sizeof(reserved) / sizeof(*reserved) && !f->header_why; k++)
            if (strcmp(name, reserved[k]) == 0)
                header_bad(f, "a column cannot be named", name);
        if (strcmp(name, "company_id") == 0) {
            has_company = true;
            f->company_at = i;
        }
        jv_push_str(f->columns, name);
    }
    if (!f->header_why && !has_company)
        company_missing(f, row);
}

static bool company_read(const char *text, int64_t *out)
{
    size_t len = strlen(text);
    if (!len || len > 18 || strspn(text, "0123456789") != len)
        return false;
    *out = strtoll(text, NULL, 10);
    return *out >= 1;
}

/* NULL when a field is no text. */
static struct jv *params_make(struct item_file *f, const struct csv_row *row)
{
    struct jv *params = jv_new_object();
    for (unsigned i = 0; i < row->n && i < jv_len(f->columns); i++) {
        const char *text = field_text(f, row->field[i]);
        if (i == f->company_at || (text && !*text))
            continue;
        if (!text) {
            jv_wipe(params);
            return NULL;
        }
        jv_set_str(params, jv_str(jv_at(f->columns, i)), text);
    }
    return params;
}

/* Nothing but separators, or the end of file of another age (Ctrl-Z). */
static bool row_is_blank(const struct csv_row *row)
{
    for (unsigned i = 0; i < row->n; i++)
        if (*row->field[i] && strcmp(row->field[i], "\xc2\xa0") != 0 && strcmp(row->field[i], "\x1a") != 0)
            return false;
    return row->n;
}

/* Fields beyond the last column; cells at a row's end that are empty may be missing (spreadsheets leave them out). */
static bool has_too_many(const struct csv_row *row, size_t columns)
{
    for (unsigned i = (unsigned)columns; i < row->n; i++)
        if (*row->field[i])
            return true;
    return false;
}

static void company_bad(struct item_file *f, uint64_t line, const char *text)
{
    char why[200];
    bool is_number = *text && strlen(text) < 40 && strspn(text, "0123456789.,eE+ ") == strlen(text);
    if (is_number && strpbrk(text, "eE"))
        snprintf(
            why, sizeof(why),
            "company_id is %s: the spreadsheet shortened it; format the column as a number without decimals and save again",
            text);
    else if (is_number && strpbrk(text, ".,"))
        snprintf(why, sizeof(why),
                 "company_id is %s: it must be digits only, without a decimal or thousands separator", text);
    else
        snprintf(why, sizeof(why), "company_id must be a whole number of 1 or more");
    bad_add(f, line, why);
}

static void row_take(void *arg, const struct csv_row *row)
{
    struct item_file *f = arg;
    int64_t company_id;
    char why[100];
    size_t len, columns = jv_len(f->columns);
    if (!f->columns && !row->bad && row_is_blank(row))
        return;
    if (!f->columns) {
        header_take(f, row);
        return;
    }
    if (row->bad) {
        bad_add(f, row->line, row->bad);
        return;
    }
    if (row_is_blank(row))
        return;
    if (has_too_many(row, columns)) {
        snprintf(why, sizeof(why), "it has %u field%s, the first row has %zu", row->n, row->n == 1 ? "" : "s",
                 columns);
        bad_add(f, row->line, why);
        return;
    }
    const char *company = f->company_at < row->n ? row->field[f->company_at] : "";
    if (!company_read(company, &company_id)) {
        company_bad(f, row->line, company);
        return;
    }
    struct jv *params = params_make(f, row);
    if (!params) {
        bad_add(f, row->line, "it is neither UTF-8 nor Windows-1252; save the file as 'CSV UTF-8'");
        return;
    }
    struct jv *item = jv_new_object();
    jv_set_int(item, "company_id", company_id);
    if (jv_len(params))
        jv_set(item, "params", params);
    else
        jv_free(params);
    char *text = jv_dump(item, &len);
    if (len > BATCH_LINE_MAX)
        bad_add(f, row->line, "it is longer than 20,480 bytes");
    else
        line_add(f, row->line, text, len);
    explicit_bzero(text, len);
    free(text);
    jv_wipe(item);
}

/* ---- NDJSON ------------------------------------------------------------------------------------------------- */

static void ndjson_line_end(struct item_file *f)
{
    f->line_no++;
    if (!f->file_why && !f->n && !f->bad_total && !f->is_long && jv_is_begun(f->line.data, f->line.len))
        f->file_why = "is JSON of several lines an object; write an object a line, as with: jq -c . FILE";
    if (f->is_long)
        bad_add(f, f->line_no, "it is longer than 20,480 bytes");
    else if (!batch_line_is_blank(f->line.data, f->line.len))
        line_add(f, f->line_no, f->line.data, f->line.len);
    f->is_long = false;
    buf_clear(&f->line);
}

static void ndjson_feed(struct item_file *f, const char *data, size_t len)
{
    while (len) {
        const char *end = memchr(data, '\n', len);
        size_t part = end ? (size_t)(end - data) : len;
        f->is_long |= f->line.len + part > BATCH_LINE_MAX;
        if (!f->is_long)
            buf_add(&f->line, data, part);
        if (!end)
            return;
        ndjson_line_end(f);
        data += part + 1;
        len -= part + 1;
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static enum format format_of(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", data[i]) || !data[i])
            return data[i] == '{' ? FORMAT_NDJSON : data[i] == '[' ? FORMAT_LIST : FORMAT_CSV;
    return FORMAT_UNKNOWN;
}

static void feed(void *arg, const char *data, size_t len)
{
    struct item_file *f = arg;
    if (f->format == FORMAT_UNKNOWN)
        f->format = format_of(data, len);
    if (f->format == FORMAT_LIST)
        f->file_why = "is a JSON list; write an object a line, as with: jq -c '.[]' FILE";
    if (f->format == FORMAT_CSV)
        csv_feed(f->csv, data, len);
    else
        ndjson_feed(f, data, len); /* blank lines count, whatever follows them */
}

static void end(struct item_file *f)
{
    f->is_end = true;
    text_end(&f->text, feed, f);
    if (f->format == FORMAT_CSV)
        csv_end(f->csv);
    else if (f->line.len || f->is_long)
        ndjson_line_end(f);
}

/* Reads a piece; false after saying why it cannot be read. */
static bool piece_read(struct item_file *f)
{
    char piece[PIECE_BYTES];
    ssize_t n;
    do
        n = read(f->fd, piece, sizeof(piece));
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        f->is_broken = true;
        ctl_fail(f->c, "%s cannot be read: %s", f->path, strerror(errno));
        return false;
    }
    if (n)
        text_feed(&f->text, piece, (size_t)n, feed, f);
    else
        end(f);
    if (f->text.why)
        f->file_why = f->text.why;
    explicit_bzero(piece, sizeof(piece));
    return true;
}

long item_file_read(void *file, char *out, size_t room)
{
    struct item_file *f = file;
    while (f->out_at == f->out.len && !f->is_end) {
        buf_clear(&f->out);
        f->out_at = 0;
        if (f->is_broken || !piece_read(f))
            return -1;
    }
    size_t left = f->out.len - f->out_at, n = left < room ? left : room;
    if (n)
        memcpy(out, f->out.data + f->out_at, n);
    f->out_at += n;
    return (long)n;
}

bool item_file_each(struct item_file *f, void (*take)(void *arg, const char *text, size_t len), void *arg)
{
    char piece[PIECE_BYTES];
    struct buf line = {0};
    long n;
    while ((n = item_file_read(f, piece, sizeof(piece))) > 0)
        for (const char *at = piece, *end = piece + n; at < end;) {
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            buf_add(&line, at, (size_t)((stop ? stop : end) - at));
            at = stop ? stop + 1 : end;
            if (stop) {
                take(arg, line.data, line.len);
                buf_clear(&line);
            }
        }
    buf_wipe(&line);
    explicit_bzero(piece, sizeof(piece));
    return n == 0;
}

void item_file_bad_each(const struct item_file *f, void (*fn)(void *arg, uint64_t line, const char *why),
                        void *arg)
{
    for (size_t i = 0; i < jv_len(f->bad); i++) {
        int64_t line = 0;
        jv_int(jv_get(jv_at(f->bad, i), "line"), &line);
        fn(arg, (uint64_t)line, jv_str(jv_get(jv_at(f->bad, i), "error")));
    }
}

static void errors_add(void *arg, const char *field, struct jv *why)
{
    struct buf *text = arg;
    for (size_t i = 0; i < jv_len(why); i++)
        buf_addf(text, "%s%s %s", text->len ? "; " : "", field,
                 jv_str(jv_at(why, i)) ? jv_str(jv_at(why, i)) : "is not good");
}

void item_file_errors(struct buf *text, const struct jv *errors)
{
    jv_each(errors, errors_add, text);
}

struct item_file *item_file_open(struct ctl *c, const char *path)
{
    struct item_file *f = xcalloc(1, sizeof(*f));
    f->c = c;
    f->path = strcmp(path, "-") == 0 ? "standard input" : path;
    f->csv = csv_new(row_take, f);
    f->bad = jv_new_array();
    f->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    bool good = f->fd >= 0;
    if (!good)
        ctl_fail(c, "%s cannot be read: %s", path, strerror(errno));
    while (good && !f->n && !f->is_end && !f->bad_total && !f->header_why && !f->file_why)
        good = piece_read(f);
    if (good && f->file_why) {
        good = false;
        ctl_fail(c, "%s %s", f->path, f->file_why);
    }
    if (good && (f->header_why || (!f->n && !f->bad_total))) {
        good = false;
        if (f->header_why)
            ctl_fail(c, "%s: line 1: %s", f->path, f->header_why);
        else
            ctl_fail(c, "%s holds no items", f->path);
    }
    if (!good)
        item_file_close(&f);
    return f;
}

void item_file_close(struct item_file **fp)
{
    struct item_file *f = *fp;
    *fp = NULL;
    if (f->fd >= 0)
        close(f->fd);
    if (f->is_1252)
        fprintf(stderr, "%s is not UTF-8: it was read as Windows-1252, which is Excel's plain CSV\n", f->path);
    csv_destroy(&f->csv);
    buf_wipe(&f->line);
    buf_wipe(&f->out);
    buf_wipe(&f->field);
    text_wipe(&f->text);
    jv_free(f->columns);
    jv_free(f->bad);
    free(f->header_why);
    free(f->lines);
    free(f);
}

uint64_t item_file_lines(const struct item_file *f)
{
    return f->n;
}

uint64_t item_file_line(const struct item_file *f, uint64_t index)
{
    return index < f->n ? f->lines[index] : 0;
}

uint64_t item_file_bad_total(const struct item_file *f)
{
    return f->bad_total;
}

struct jv *item_file_bad(const struct item_file *f)
{
    return f->bad;
}
