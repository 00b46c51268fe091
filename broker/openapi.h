/* SPDX-License-Identifier: MIT */
/* openapi.h - the description of both listeners' APIs (OpenAPI 3.1), made from the tables that make them. */
#ifndef CHASQUI_OPENAPI_H
#define CHASQUI_OPENAPI_H

#include "broker/route.h"
#include "common/buf.h"
#include <stdbool.h>

/* Appends the whole document, JSON, the same bytes each time. */
void openapi_write(struct buf *out);

/* What a route knows: names of its query or its body, by its handler; false: it has no row with that name. */
struct exchange;
enum field_where { FIELD_PATH, FIELD_QUERY, FIELD_BODY, FIELD_HEADER };
bool field_is_known(void (*handle)(struct exchange *x), enum field_where where, const char *name);

/* For people: the i-th field of a row of routes.def, by the row's number. false: there are no more. */
struct field_text {
    const char *where, *name, *doc;
    bool is_needed;
};
bool openapi_field(unsigned route, unsigned i, struct field_text *out);

#endif
