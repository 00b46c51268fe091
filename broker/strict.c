/* SPDX-License-Identifier: MIT */
/*
 * strict.c - the known names of operators' routes. An unknown name is refused: an operator who misspells a filter
 * or a scope must not act on everything. fields.def lists the known names; `reason` is known in every body.
 */
#include "broker/strict.h"
#include "broker/exchange.h"
#include "broker/openapi.h"
#include "broker/params.h"
#include "broker/route.h"

#include <stdlib.h>
#include <string.h>

struct look {
    void (*handle)(struct exchange *x);
    enum field_where where;
    struct jv **errors;
};

static void look(const struct look *l, const char *name)
{
    if (!field_is_known(l->handle, l->where, name) && (l->where != FIELD_BODY || strcmp(name, "reason") != 0))
        errors_add_named(l->errors, name, "is not known here");
}

static void look_member(void *arg, const char *key, struct jv *v)
{
    (void)v;
    look(arg, key);
}

void strict_look(const struct exchange *x, struct jv **errors)
{
    struct query q;
    char *copy = x->query ? strdup(x->query) : NULL;
    struct look query = {x->route->handle, FIELD_QUERY, errors}, body = {x->route->handle, FIELD_BODY, errors};
    query_parse(&q, copy, errors);
    for (unsigned i = 0; i < q.n; i++)
        look(&query, q.pair[i].name);
    free(copy);
    if (x->json)
        jv_each(x->json, look_member, &body);
}
