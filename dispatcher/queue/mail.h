/* SPDX-License-Identifier: MIT */
/*
 * mail.h - gives one mail to a mail server (SMTP), in a thread of its own: curl waits for the server's word when it takes leave, and nothing stops
 * a loop.
 */
#ifndef CHASQUI_MAIL_H
#define CHASQUI_MAIL_H

#include "common/buf.h"
#include "common/loop.h"

#include <stdbool.h>

struct mail_post;

struct mail_server {             /* borrowed strings, for as long as a mail is under way */
    const char *url;             /* smtp://host:port or smtps://host:port */
    const char *user, *password; /* NULL = none; with a password the connection must be encrypted */
    const char *from, *to;       /* to: comma list */
    long total_ms;
};
/* why NULL: the server took it. Called from the loop, once. */
typedef void mail_done_fn(void *arg, const char *why);

/* NULL: no thread, or no descriptor. Takes the bytes of `text`. */
struct mail_post *mail_send(struct loop *l, const struct mail_server *server, struct buf *text, mail_done_fn *fn,
                            void *arg);
/* The caller waits no more: `fn` is not called. It may still arrive. Frees it. */
void mail_forget(struct mail_post **pp);

#endif
