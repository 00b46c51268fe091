/* SPDX-License-Identifier: MIT */
/*
 * store_verify.h - is it a good token, as far as the database knows? Ours first,
 * then Laravel's, by the view that auth.laravel_view names.
 */
#ifndef CHASQUI_STORE_VERIFY_H
#define CHASQUI_STORE_VERIFY_H

#include "dispatcher/store/store.h"

#define VERIFY_WHY_ROOM 161

enum verified {
    VERIFIED_GOOD,    /* json is the body of TOKEN_VERIFY */
    VERIFIED_REFUSED, /* it was one once */
    VERIFIED_UNKNOWN, /* nobody here knows it */
    VERIFIED_NOT      /* the view could not be asked: why */
};

struct store_verify {
    struct store_token own;  /* in: token_id 0 = a token of another form */
    const struct conf *conf; /* in: read-only */
    enum verified outcome;
    bool is_foreign; /* good, and Laravel's */
    char why[VERIFY_WHY_ROOM];
    struct buf json; /* freed by the caller */
    enum store_rc rc;
};
void store_verify(struct db *db, void *op);

#endif
