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
    uint8_t key[16];
};

struct strangers *strangers_new(unsigned per_address_max);
void strangers_destroy(struct strangers **sp); /* all must have left */
/* Sets the origin of a connection: an IPv4 address, or a /64 of IPv6. */
void stranger_from(struct stranger *one, const struct sockaddr *address, void *owner);
/* Sets the owner of a guest. It must not be listed now. */
void stranger_owned_by(struct stranger *one, uint64_t key);
/* Adds `one`. When its address has too many, the oldest of them leaves, and its owner is returned; else NULL. */
void *strangers_come(struct strangers *s, struct stranger *one);
/* Adds one that has just been returned, as the newest; nobody leaves for it. */
void strangers_return(struct strangers *s, struct stranger *one);
void strangers_leave(struct strangers *s, struct stranger *one); /* no-op when not listed */
/* Removes the oldest of all and returns its owner; NULL = the list is empty. */
void *strangers_shed(struct strangers *s);
uint64_t strangers_count(const struct strangers *s); /* NULL has 0 */

#endif
