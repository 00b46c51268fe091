/* SPDX-License-Identifier: MIT */
/*
 * events.h - tells events.url what happens: a signed POST an event, at least
 * once, those of a session one after another.
 */
#ifndef CHASQUI_EVENTS_H
#define CHASQUI_EVENTS_H

#include "dispatcher/dispatcher.h"

struct events;

/* After the webhooks, whose secret signs. NULL after saying why: a URL that is none, or no secret. */
struct events *events_new(struct dispatcher *d);
void events_destroy(struct events **ep); /* after the calls have ended or were dropped */
void events_tick(struct dispatcher *d);  /* each sweep */
/* Adds why the receiver does not take them, as a line of store_troubles(). */
void events_trouble(const struct dispatcher *d, char text[TROUBLE_TEXT_MAX + 1]);

#endif
