/*
 * webhook.h - tells a batch's callback_url that it has ended: a POST of
 * {"event":"batch.finished","batch":{...}}, signed with the secret of
 * webhook.secret_file.
 */
#ifndef CHASQUI_WEBHOOK_H
#define CHASQUI_WEBHOOK_H

struct dispatcher;
struct webhooks;

/* NULL after saying why: a secret that cannot be used. */
struct webhooks *webhooks_new(struct dispatcher *d);
void webhooks_destroy(struct webhooks **wp);
/* From the sweep: looks for callbacks that are due, every 10 s when none is known. */
void webhook_tick(struct dispatcher *d);
/* A batch with a callback_url may just have ended. */
void webhook_soon(struct dispatcher *d);

#endif
