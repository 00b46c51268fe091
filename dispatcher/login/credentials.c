/* SPDX-License-Identifier: MIT */
/*
 * credentials.c - CREDENTIALS_SET and CREDENTIALS_REMOVE. Credentials are sealed before they go to a database
 * thread, and no answer ever holds them.
 */
#include "dispatcher/login/credentials.h"
#include "dispatcher/login/login.h"
#include "dispatcher/store/store_credentials.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static void kept(void *arg, void *op_arg)
{
    struct store_credentials *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    bool is_set = op->sealed.len > 0;
    if (r && op->is_full) {
        refuse_field(d, r, "portal", "is one too many: the company has credentials stored for 64 others");
    } else if (r && (is_set || op->found)) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "company_id", (int64_t)op->company_id);
        jv_set_str(body, "portal", op->portal);
        if (is_set)
            jv_set_time(body, "updated_at", op->updated_ms);
        reply_jv(d, r, 200, body);
    } else if (r) {
        reply_error(d, r, ERR_NOT_FOUND, "No credentials of this company and portal are stored.", NULL);
    }
    buf_free(&op->sealed);
    free(op);
}

/* Whether the payload is the text of an object. A broker should ensure that, but a peer may have sent anything. */
static bool is_object(const struct request *r)
{
    enum jv_bad bad;
    struct jv *v = jv_parse(r->params ? r->params : "", r->params_len, &bad);
    bool is_good = jv_type(v) == JV_OBJECT && jv_len(v) > 0;
    jv_wipe(v);
    return is_good;
}

void credentials_start(struct dispatcher *d, struct request *r)
{
    bool is_set = r->op == OP_CREDENTIALS_SET;
    if (is_set && !d->seal) {
        refuse_field(d, r, "credentials", "cannot be kept: the dispatcher has no seal.key_file");
        return;
    }
    if (is_set && !is_object(r)) {
        reply_error(d, r, ERR_BAD_REQUEST, NULL, NULL);
        return;
    }
    struct store_credentials *op = xcalloc(1, sizeof(*op));
    op->company_id = r->company_id;
    strcpy(op->portal, r->portal);
    request_actor(r, &op->by);
    if (is_set)
        seal_wrap(d->seal, r->company_id, r->portal, "credentials", r->params, r->params_len, &op->sealed);
    store_submit(d->store, store_credentials, op, kept, asked_new(d, r));
}
