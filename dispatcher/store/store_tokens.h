/* SPDX-License-Identifier: MIT */
/*
 * store_tokens.h - tokens for operators: made, listed, revoked. As in store.h
 * each op travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_TOKENS_H
#define CHASQUI_STORE_TOKENS_H

#include "dispatcher/store/store.h"

#define TOKEN_SECRET_LETTERS 48 /* of 62: 285 bits */
#define TOKEN_NAME_ROOM (100 * 4 + 1)

struct store_token_create { /* with its audit row */
    char name[TOKEN_NAME_ROOM], abilities[32];
    bool all;
    /* malloc'ed, freed by the caller */
    uint32_t n_companies;
    uint64_t *companies;
    uint64_t rate, expires_s, expires_at_ms; /* both 0 = never */
    uint8_t sha256[32];
    struct actor by;
    uint64_t id;
    struct buf json; /* out: as a row of store_tokens() */
    enum store_rc rc;
};
void store_token_create(struct db *db, void *op);

struct store_tokens {
    uint64_t cursor;
    unsigned limit;
    struct buf json; /* {"ok":true,"tokens":[...],"next_cursor":...}, newest first */
    enum store_rc rc;
};
void store_tokens(struct db *db, void *op);

struct store_token_revoke {
    uint64_t id;
    struct actor by;
    bool found, was_revoked;
    enum store_rc rc;
};
void store_token_revoke(struct db *db, void *op);

#endif
