/* SPDX-License-Identifier: MIT */
/*
 * params_token.h - bodies that create a token, or store credentials. Errors are gathered in `errors`, as in
 * params.h.
 */
#ifndef CHASQUI_PARAMS_TOKEN_H
#define CHASQUI_PARAMS_TOKEN_H

#include "broker/params.h"

/* Returns a new token in the form for a dispatcher: {name, abilities: "app,ops", all, companies:[…],
 * rate_per_minute?, expires_at_ms?, expires_s?}. The caller frees it. Valid only when no errors were added. */
struct jv *params_token(const struct jv *body, int64_t now_unix_ms, struct jv **errors);
/* Reads the owner of credentials, from a body, or from a query when body is NULL. */
void params_whose(const struct jv *body, const struct query *q, struct msg_REQUEST *r, struct jv **errors);
/* Reads the credentials: an object with at least one member, none of which Chasqui sets itself. */
void params_credentials(const struct jv *body, struct jv **errors);

#endif
