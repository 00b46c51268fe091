/* SPDX-License-Identifier: MIT */
/*
 * broker_names.h - brokers behind one name. Each address of the name is a broker of its own, because a dispatcher
 * serves all of them.
 */
#ifndef CHASQUI_DISPATCHER_BROKER_NAMES_H
#define CHASQUI_DISPATCHER_BROKER_NAMES_H

#include "common/loop.h"
#include <stdbool.h>

struct broker_names;

/* Receives the endpoints by address behind name `entry`, n >= 1; borrowed. Called every BROKER_NAMES_MS while the
 * name is known, changed or not. */
#define BROKER_NAMES_MS 5000
typedef void broker_names_fn(void *arg, unsigned entry, const char *const *endpoints, unsigned n);

struct broker_names *broker_names_new(struct loop *l, broker_names_fn *fn, void *arg);
void broker_names_destroy(struct broker_names **bp);
/* Follows the name of that endpoint (tcp://name:port) from now on. Returns false, and follows nothing, when it
 * holds an address. */
bool broker_names_add(struct broker_names *b, unsigned entry, const char *endpoint);

#endif
