/* SPDX-License-Identifier: MIT */
/* auth.h - authenticates requests. */
#ifndef CHASQUI_BROKER_AUTH_H
#define CHASQUI_BROKER_AUTH_H

#include "broker/broker.h"

struct token { /* a verified token; reference-counted */
    unsigned refs;
    uint64_t id;
    char name[101];
    unsigned abilities; /* bits of enum ability */
    bool all_companies;
    uint64_t *companies;
    uint32_t n_companies;
    uint64_t rate_per_minute; /* 0 = no limit */
    uint64_t user_id;         /* of a token of the application: its user there; 0 = unknown */
};

struct token_key {    /* a presented credential, as read */
    uint64_t id;      /* 0: not in our token format */
    uint8_t hash[32]; /* SHA-256 of the secret; without an id, of the whole text */
    struct str text;  /* the whole text, borrowed from the request; empty: only the hash is known */
};

enum auth_result { AUTH_KNOWN, AUTH_REFUSED, AUTH_WAITS };
struct auth *auth_new(struct broker *b);
void auth_destroy(struct auth **ap);
/* Reads "<id>|<secret>". A text in any other form is hashed all the same, and the result is false. */
bool token_key_read(const char *text, struct token_key *out);
/* Looks a token up. AUTH_KNOWN sets x->token. AUTH_WAITS: exchange_verified() will be called. */
enum auth_result auth_ask(struct exchange *x, const struct token_key *key);
/* As auth_ask, for the sender of x: the bearer of a token, or on the operators' listener the holder of a
 * cookie. */
enum auth_result auth_check(struct exchange *x);
void auth_leave(struct exchange *x); /* x no longer waits for a verdict */
void auth_forget(struct broker *b, uint64_t token_id);
/* For a long body or answer: whether x's token has been refused by now. Asks again as needed. */
bool auth_refused(struct exchange *x);
bool token_may_see(const struct token *t, uint64_t company_id);
/* The owner that a token's resources count for: its company, or the token itself when it is for several. */
uint64_t token_owner(const struct token *t);
/* Reads the address of "address:port"; `address` is zeroed first. For IPv6 it is the network, because one owner
 * has all addresses of it. */
void peer_address(const char *peer, uint8_t address[16]);
void token_drop(struct token **tp);

#endif
