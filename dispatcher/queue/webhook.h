/* SPDX-License-Identifier: MIT */
/*
 * webhook.h - tells a batch's callback_url that it has ended: a POST of
 * {"event":"batch.finished","batch":{...}}, signed with the secret of
 * webhook.secret_file.
 */
#ifndef CHASQUI_WEBHOOK_H
#define CHASQUI_WEBHOOK_H

#include "common/buf.h"
#include "common/id.h"

#include <stdbool.h>
#include <stdint.h>

struct call_answer;
struct dispatcher;
struct webhooks;

/* NULL after saying why: a secret that cannot be used. */
struct webhooks *webhooks_new(struct dispatcher *d);
void webhooks_destroy(struct webhooks **wp);
/* From the sweep: looks for callbacks that are due, every 10 s when none is known. */
void webhook_tick(struct dispatcher *d);
/* A batch with a callback_url may just have ended. */
void webhook_soon(struct dispatcher *d);

/* ---- for events.c, which posts likewise --------------------------------------------------------------------- */
bool webhook_can_post(const struct dispatcher *d); /* there is a secret */
/* A signed POST; `done` as in robot_http.h. */
void webhook_post(struct dispatcher *d, const char *url, const struct buf *body, const uint8_t id[ID_TOKEN_BYTES],
                  void (*done)(void *arg, struct call_answer *answer), void *arg);
/* NULL: it was taken; else why not. */
const char *webhook_wrong(const struct call_answer *answer, char error[100]);
/* Until the try after the `attempts`-th. */
int64_t webhook_wait_ms(const struct dispatcher *d, unsigned attempts);

#endif
