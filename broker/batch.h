/* SPDX-License-Identifier: MIT */
/* batch.h - uploads: turns the items of a body into a batch. */
#ifndef CHASQUI_BROKER_BATCH_H
#define CHASQUI_BROKER_BATCH_H

#include "broker/broker.h"

struct uploads *uploads_new(void);
void uploads_destroy(struct broker *b); /* unacknowledged lines are forgotten; their batches stay open */
void uploads_stats(const struct broker *b);
/* The head of an NDJSON batch has arrived: makes x->upload, or answers. */
void upload_begin(struct exchange *x);
/* Takes a piece of the body; returns how many bytes were taken. */
size_t upload_take(struct upload *u, const char *data, size_t len);
/* Whether the body must wait until x is resumed (back-pressure). */
bool upload_is_full(const struct upload *u);
/* x gives the upload up. The upload continues by itself with its whole lines. */
void upload_leave(struct exchange *x);

#endif
