/* SPDX-License-Identifier: MIT */
/*
 * params_token.h - bodies that make a token, or store credentials. As in
 * params.h what is wrong is gathered in `errors`.
 */
#ifndef CHASQUI_PARAMS_TOKEN_H
#define CHASQUI_PARAMS_TOKEN_H

#include "broker/params.h"

/* A new token as a dispatcher takes it: {name, abilities: "app,ops", all, companies:[…], rate_per_minute?, expires_at_ms?, expires_s?}. The
 * caller's to free; only good when nothing was added to errors. */
struct jv *params_token(const struct jv *body, int64_t now_unix_ms, struct jv **errors);
/* Whose credentials, from a body, or from a query when body is NULL. */
void params_whose(const struct jv *body, const struct query *q, struct msg_REQUEST *r, struct jv **errors);
/* The credentials themselves: an object with at least one member, none of which Chasqui sets itself. */
void params_credentials(const struct jv *body, struct jv **errors);

#endif
