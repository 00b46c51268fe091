/* SPDX-License-Identifier: MIT */
/*
 * route.c - finds the row of routes.def. The table is short and its most used rows come first, so the search is
 * linear. Paths are compared as received: an escaped letter makes another path.
 */
#include "broker/route.h"

#include <stdio.h>
#include <string.h>

static const struct route routes[] = {
#define ROUTE(listener, method, path, ability, counts, takes, handler, doc)                                       \
    {listener, method, path, ability, counts, takes, handler},
#include "broker/routes.def"
#undef ROUTE
};
#define N_ROUTES (sizeof routes / sizeof routes[0])

unsigned route_count(void)
{
    return N_ROUTES;
}

const struct route *route_at(unsigned i)
{
    return &routes[i];
}

unsigned route_index(const struct route *r)
{
    return (unsigned)(r - routes);
}

#define ANY "ANY"
static const char *const any[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};

/* Whether `path` has the form of `pattern`. *arg = the part of the path at {}; with two {}, from the first one to
 * the end of the second. */
static bool fits(const char *pattern, const char *path, struct str *arg)
{
    const char *hole = strstr(pattern, "{}"), *rest = strstr(pattern, "{*}");
    *arg = (struct str){"", 0};
    if (rest) {
        *arg = str_of(strncmp(pattern, path, (size_t)(rest - pattern)) == 0 ? path + (rest - pattern) : "");
        return arg->len;
    }
    if (!hole)
        return strcmp(pattern, path) == 0;
    size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0)
        return false;
    size_t len = strcspn(path + before, "/");
    struct str more; /* extends to the end of the last {} */
    if (!len || !fits(hole + 2, path + before + len, &more))
        return false;
    *arg = (struct str){path + before, (uint32_t)(more.len ? (size_t)(more.p + more.len - path) - before : len)};
    return true;
}

static void allow_add(char allow[ROUTE_ALLOW_BYTES], const char *method)
{
    if (strcmp(method, ANY) == 0) {
        for (unsigned i = 0; any[i]; i++)
            allow_add(allow, any[i]);
        return;
    }
    size_t len = strlen(allow);
    snprintf(allow + len, ROUTE_ALLOW_BYTES - len, "%s%s", len ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow_add(allow, "HEAD");
}

static bool method_fits(const char *of_row, const char *method)
{
    bool is_any = false;
    for (unsigned i = 0; any[i] && strcmp(of_row, ANY) == 0; i++)
        is_any |= strcmp(any[i], method) == 0;
    return is_any || (strcmp(of_row, method) == 0 && strcmp(method, ANY) != 0);
}

enum route_match route_find(enum listener l, const char *method, const char *path, const struct route **out,
                            struct str *arg, char allow[ROUTE_ALLOW_BYTES])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    const char *found = NULL; /* the matching pattern: only rows with the same pattern count */
    struct str found_arg = {"", 0};
    allow[0] = '\0';
    for (size_t i = 0; i < N_ROUTES; i++) {
        const struct route *r = &routes[i];
        struct str hole;
        if (r->listener != l || (found ? strcmp(found, r->path) != 0 : !fits(r->path, path, &hole)))
            continue;
        if (!found) {
            found = r->path;
            found_arg = hole;
        }
        if (method_fits(r->method, wanted)) {
            *out = r;
            *arg = found_arg;
            return ROUTE_FOUND;
        }
        allow_add(allow, r->method);
    }
    if (found)
        allow_add(allow, "OPTIONS");
    return !found ? ROUTE_NO_PATH : strcmp(method, "OPTIONS") == 0 ? ROUTE_OPTIONS : ROUTE_NO_METHOD;
}
