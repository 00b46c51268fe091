/* SPDX-License-Identifier: MIT */
/*
 * strangers.h - connections without a request in flight. Strangers have presented no verified token: silent ones,
 * those that send a head slowly, and those that wait after a refusal. All others are guests. Pure book-keeping of
 * the order of arrival: overall, by address and, for guests, by owner of the token.
 */
#ifndef CHASQUI_STRANGERS_H
#define CHASQUI_STRANGERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct strangers; /* of one listener */

struct stranger { /* a member of the connection, zero-initialised */
    void *owner;
    struct stranger_address *at;              /* NULL = not listed now */
    TAILQ_ENTRY(stranger) of_address, of_all; /* in order of arrival */
    uint64_t since_ms;
    uint8_t key[16];
};

/* Connections younger than young_ms may be twice as many: all those of a proxy come at one moment, and their requests
 * a moment later. */
struct strangers *strangers_new(unsigned per_address_max, unsigned young_ms);
void strangers_destroy(struct strangers **sp); /* all must have left */
/* Sets the origin of a connection: an IPv4 address, or a /64 of IPv6. */
void stranger_from(struct stranger *one, const struct sockaddr *address, void *owner);
/* Sets the owner of a guest. It must not be listed now. */
void stranger_owned_by(struct stranger *one, uint64_t key);
/* Closes the owner of one that must leave, or returns false: it stays in its place. */
typedef bool stranger_leaves_fn(void *owner);
/* Adds `one`. When its address has too many, the oldest of them leaves of whom `leaves` is true; only some are asked. */
void strangers_come(struct strangers *s, struct stranger *one, uint64_t now_ms, stranger_leaves_fn *leaves);
/* Of addresses that still have too many those leave that are no longer young, oldest first, of whom `leaves` is true. s may be NULL. */
void strangers_sweep(struct strangers *s, uint64_t now_ms, stranger_leaves_fn *leaves);
void strangers_leave(struct strangers *s, struct stranger *one); /* no-op when not listed */
/* The oldest of all leaves of whom `leaves` is true; false = nobody does. */
bool strangers_shed(struct strangers *s, stranger_leaves_fn *leaves);
uint64_t strangers_count(const struct strangers *s); /* NULL has 0 */

#endif
