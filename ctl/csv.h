/* SPDX-License-Identifier: MIT */
/*
 * csv.h - comma separated values as RFC 4180 has them, and as spreadsheets write
 * them: fields in double quotes may hold separators, line ends and doubled
 * quotes; lines end with CR LF, LF or CR; columns are separated by what the first
 * line is separated by (, ; tab or |), or by what a line sep=; before it says;
 * blanks round fields and a byte order mark are passed over. Read in pieces of
 * any size. Pure.
 */
#ifndef CHASQUI_CTL_CSV_H
#define CHASQUI_CTL_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_ROW_BYTES_MAX 20000 /* of all fields of a row */
#define CSV_FIELDS_MAX 200

struct csv_row {
    uint64_t line;   /* of the file, from 1, where it begins */
    const char *bad; /* what is wrong with it, or NULL; then it has no fields */
    unsigned n;
    const char *const *field; /* NUL-terminated, borrowed during the call */
};
/* Called for each row but empty lines. */
typedef void csv_fn(void *arg, const struct csv_row *row);

struct csv;

struct csv *csv_new(csv_fn *fn, void *arg);
void csv_destroy(struct csv **cp);
void csv_feed(struct csv *c, const char *data, size_t len);
/* Does `name` begin with company_id, however it is written (Company ID, COMPANY-ID, companyId)? *used = how much. */
bool csv_is_company(const char *name, size_t len, size_t *used);
void csv_end(struct csv *c); /* the last row may lack its line end */

#endif
