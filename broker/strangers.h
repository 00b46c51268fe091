/* SPDX-License-Identifier: MIT */
/*
 * strangers.h - connections that send no request just now. Strangers have shown
 * no good token: silent ones, those that drip a head, and those that wait after a
 * refusal. The others are guests. Pure book-keeping of who came first, in all and
 * by address; of guests by whose token it was.
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
    struct stranger_address *at;              /* NULL = is none now */
    TAILQ_ENTRY(stranger) of_address, of_all; /* in the order of coming */
    uint8_t key[16];
};

struct strangers *strangers_new(unsigned per_address_max);
void strangers_destroy(struct strangers **sp); /* all have left */
/* Where a connection comes from: an IPv4 address, or a /64 of IPv6. */
void stranger_from(struct stranger *one, const struct sockaddr *address, void *owner);
/* Of a guest: whose it is. It is none at present. */
void stranger_owned_by(struct stranger *one, uint64_t key);
/* `one` comes. The owner of the one that has to give way, since its address has too many; NULL = nobody. It has left. */
void *strangers_come(struct strangers *s, struct stranger *one);
void strangers_leave(struct strangers *s, struct stranger *one); /* no-op when it is none now */
/* The owner of the one that came first of all, which leaves; NULL = there is none. */
void *strangers_shed(struct strangers *s);
uint64_t strangers_count(const struct strangers *s); /* NULL: 0 */

#endif
