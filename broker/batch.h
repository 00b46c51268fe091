/* SPDX-License-Identifier: MIT */
/* batch.h - uploads: how the items of a body get into a batch. */
#ifndef CHASQUI_BROKER_BATCH_H
#define CHASQUI_BROKER_BATCH_H

#include "broker/broker.h"

struct uploads *uploads_new(void);
void uploads_destroy(struct broker *b); /* what was not acknowledged is forgotten; its batches stay open */
void uploads_stats(const struct broker *b);
/* The head of a batch as NDJSON is there: makes x->upload, or answers. */
void upload_begin(struct exchange *x);
/* A piece of its body; returns how much of it was taken. */
size_t upload_take(struct upload *u, const char *data, size_t len);
/* Takes nothing now: the body is to wait until x is resumed. */
bool upload_is_full(const struct upload *u);
/* x has no use for it any more. It goes on by itself with the whole lines it has. */
void upload_leave(struct exchange *x);

#endif
