/* SPDX-License-Identifier: MIT */
/* auth.h - who sends a request. */
#ifndef CHASQUI_BROKER_AUTH_H
#define CHASQUI_BROKER_AUTH_H

#include "broker/broker.h"

struct token { /* a verified one; counted references */
    unsigned refs;
    uint64_t id;
    char name[101];
    unsigned abilities; /* of enum ability */
    bool all_companies;
    uint64_t *companies;
    uint32_t n_companies;
    uint64_t rate_per_minute; /* 0 = no limit */
    uint64_t user_id;         /* of a token of the application: whose it is there; 0 = not known */
};

struct token_key {    /* what is known of a token that somebody shows */
    uint64_t id;      /* 0: it has another form than ours */
    uint8_t hash[32]; /* SHA-256 of the secret; without an id, of the whole text */
    struct str text;  /* the whole, borrowed from the request; empty: only its hash is known */
};

enum auth_result { AUTH_KNOWN, AUTH_REFUSED, AUTH_WAITS };
struct auth *auth_new(struct broker *b);
void auth_destroy(struct auth **ap);
/* "<id>|<secret>"; what is not of this form is hashed all the same, and false. */
bool token_key_read(const char *text, struct token_key *out);
/* Is it a token's? AUTH_KNOWN sets x->token. AUTH_WAITS: exchange_verified() will be called. */
enum auth_result auth_ask(struct exchange *x, const struct token_key *key);
/* The same for who sends x: the bearer of a token, or on the operators' listener somebody with a cookie. */
enum auth_result auth_check(struct exchange *x);
void auth_leave(struct exchange *x); /* x does not wait for a verdict any more */
void auth_forget(struct broker *b, uint64_t token_id);
/* For a body or an answer that goes on: is x's token refused by now? Asks again as needed. */
bool auth_refused(struct exchange *x);
bool token_may_see(const struct token *t, uint64_t company_id);
/* Who answers for what a token holds: its company, or itself when it is for several. */
uint64_t token_owner(const struct token *t);
/* Of "address:port": the address, zeroed before; of IPv6 the network, whose owner has all of its addresses. */
void peer_address(const char *peer, uint8_t address[16]);
void token_drop(struct token **tp);

#endif
