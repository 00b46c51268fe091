/* http.h - one HTTP request to a broker, with ctl.token. http.c is the only file of this program that includes
 * curl. */
#ifndef CHASQUI_CTL_HTTP_H
#define CHASQUI_CTL_HTTP_H

#include "common/buf.h"
#include "common/jv.h"

struct ctl;

struct http_answer {
    int status;      /* 0 = nobody answered */
    struct jv *body; /* JSON; NULL when it is none */
    char url[600];   /* what was asked */
    char why[300];   /* status 0: curl's reason */
};
/* GET, or POST with {} when `post`. `path` begins with '/'. The caller frees answer->body. */
void http_ask(struct ctl *c, bool post, const char *base_url, const char *path, struct http_answer *answer);
/* Adds `text` to a path or query, percent-encoded (RFC 3986). */
void http_escape(struct buf *out, const char *text);

#endif
