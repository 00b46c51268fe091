/* SPDX-License-Identifier: MIT */
/* openapi.h - the description of both listeners' APIs (OpenAPI 3.1), made from the same tables as the APIs. */
#ifndef CHASQUI_OPENAPI_H
#define CHASQUI_OPENAPI_H

#include "broker/route.h"
#include "common/buf.h"
#include <stdbool.h>

/* Appends the whole document as JSON. The bytes are the same each time. */
void openapi_write(struct buf *out);

struct exchange;
enum field_where { FIELD_PATH, FIELD_QUERY, FIELD_BODY, FIELD_HEADER };
/* Looks up a name of the route's query or body, by its handler. false: the route has no row with that name. */
bool field_is_known(void (*handle)(struct exchange *x), enum field_where where, const char *name);

/* For people: the i-th field of a row of routes.def, by the row's number. false: no more fields. */
struct field_text {
    const char *where, *name, *doc;
    bool is_needed;
};
bool openapi_field(unsigned route, unsigned i, struct field_text *out);

#endif
