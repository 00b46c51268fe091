/* parts: ctl */
/* SPDX-License-Identifier: MIT */
/* Texts of quotes, commas and line ends, read at once and in pieces: the rows must be the same,
 * their lines must rise, and the bounds hold. */
#include "ctl/csv.h"

#include "common/check.h"
#include "tests/fuzz/fuzz.h"

struct told {
    uint64_t sum, rows, line;
};

static void mix(struct told *t, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        t->sum = (t->sum ^ ((const unsigned char *)data)[i]) * 1099511628211u;
}

static void tell(void *arg, const struct csv_row *row)
{
    struct told *t = arg;
    CHECK(row->line > t->line, "line %llu after %llu", (unsigned long long)row->line, (unsigned long long)t->line);
    CHECK(row->bad ? row->n == 0 : row->n >= 1 && row->n <= CSV_FIELDS_MAX, "%u fields", row->n);
    t->line = row->line;
    t->rows++;
    mix(t, &row->line, sizeof row->line);
    mix(t, row->bad ? row->bad : "", row->bad ? strlen(row->bad) : 0);
    for (unsigned i = 0; i < row->n; i++)
        mix(t, row->field[i], strlen(row->field[i]) + 1);
}

static struct told read_in(const char *text, size_t len, bool whole)
{
    struct told t = {0};
    struct csv *c = csv_new(tell, &t);
    for (size_t at = 0; at < len;) {
        size_t n = whole ? len : 1 + pick(7);
        n = n < len - at ? n : len - at;
        char *exact = exact_copy(text + at, n);
        csv_feed(c, exact, n);
        free(exact);
        at += n;
    }
    csv_end(c);
    csv_destroy(&c);
    return t;
}

int main(int argc, char **argv)
{
    static const char *const pieces[] = {"\"",           "\"\"", ",",  ";",  "\t",         "sep=;",
                                         "\n",           "\r\n", "\r", "a",  "company_id", "\xc3\xb1",
                                         "\xef\xbb\xbf", "\xef", " ",  "\0", "1"};
    unsigned long runs = runs_of(argc, argv), rows = 0;
    for (unsigned long run = 0; run < runs; run++) {
        char text[600];
        size_t len = 0;
        for (unsigned n = pick(40); n; n--) {
            const char *piece = PICK(pieces);
            size_t piece_len = *piece ? strlen(piece) : 1;
            memcpy(text + len, piece, piece_len);
            len += piece_len;
        }
        struct told whole = read_in(text, len, true), parts = read_in(text, len, false);
        CHECK(whole.sum == parts.sum && whole.rows == parts.rows, "run %lu: %llu rows, in pieces %llu", run,
              (unsigned long long)whole.rows, (unsigned long long)parts.rows);
        rows += whole.rows;
    }
    printf("fuzz_csv: %lu texts, %lu rows\n", runs, rows);
    return rows ? 0 : 1;
}
