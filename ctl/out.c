/* SPDX-License-Identifier: MIT */
/* out.c - what the user is told: results on standard output, reasons on standard error, one JSON object with
 * --json. */
#include "ctl/ctl.h"

#include "ctl/plain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char *format(const char *fmt, va_list ap)
{
    char *text = NULL;
    return vasprintf(&text, fmt, ap) < 0 ? NULL : text;
}

static void answer(bool ok, const char *message)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", ok);
    jv_set_str(body, "message", message);
    ctl_json(body);
}

static enum ctl_exit refuse(struct ctl *c, enum ctl_exit code, const char *fmt, va_list ap)
{
    char *text = format(fmt, ap);
    plain_line(stderr, "chasqui: %s", text ? text : fmt);
    if (code == CTL_USAGE)
        fprintf(stderr, "chasqui --help says what there is; chasqui COMMAND --help says more about one\n");
    if (c->args.json)
        answer(false, text ? text : fmt);
    free(text);
    return code;
}

enum ctl_exit ctl_fail(struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum ctl_exit code = refuse(c, CTL_FAILED, fmt, ap);
    va_end(ap);
    return code;
}

enum ctl_exit ctl_usage(struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    enum ctl_exit code = refuse(c, CTL_USAGE, fmt, ap);
    va_end(ap);
    return code;
}

enum ctl_exit ctl_json(struct jv *body)
{
    size_t len;
    if (jv_type(jv_get(body, "ok")) == JV_ABSENT)
        jv_set_bool(body, "ok", true);
    char *text = jv_dump(body, &len);
    plain_json(stdout, text, len);
    free(text);
    jv_free(body);
    return CTL_DONE;
}

enum ctl_exit ctl_each(const struct ctl *c, const char *what, struct jv *list, bool failed)
{
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", !failed);
        jv_set(body, what, list);
        ctl_json(body);
    } else {
        jv_free(list);
    }
    return failed ? CTL_FAILED : CTL_DONE;
}

enum ctl_exit ctl_say(struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    if (c->args.json)
        answer(true, text);
    else
        plain_line(stdout, "%s", text ? text : fmt);
    free(text);
    return CTL_DONE;
}

void ctl_field(const char *name, const char *text)
{
    if (text && *text)
        plain_line(stdout, "%-12s %s", name, text);
}
