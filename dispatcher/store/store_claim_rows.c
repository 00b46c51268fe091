/* SPDX-License-Identifier: MIT */
/*
 * store_claim_rows.c - the items of a claim: which of them a statement is for, and which one a row is of.
 */
#include "dispatcher/store/store_claim.h"

#include <string.h>

void column_bytes(struct db *db, unsigned col, struct buf *out)
{
    size_t len;
    const char *data = db_str(db, col, &len);
    buf_clear(out);
    if (data)
        buf_add(out, data, len);
}

unsigned claim_choose(struct claim *c, enum fate fate, int is_new)
{
    c->n_rows = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (c->item[i].fate == fate && (is_new < 0 || c->item[i].is_new == (is_new != 0)))
            c->row[c->n_rows++] = &c->item[i];
    return c->n_rows;
}

struct item *claim_row_of_job(struct claim *c, uint64_t job_id)
{
    for (unsigned i = 0; i < c->n_rows; i++)
        if (c->row[i]->job_id == job_id)
            return c->row[i];
    return NULL;
}

bool item_is_for(const struct item *it, uint64_t company_id, const char *portal)
{
    return it->company_id == company_id && strcmp(it->portal, portal) == 0;
}
