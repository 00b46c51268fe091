/* SPDX-License-Identifier: MIT */
/* listen.h - listening sockets: what an address means, and how they are closed without loss. */
#ifndef CHASQUI_LISTEN_H
#define CHASQUI_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#define LISTEN_BACKLOG 4096

/* Binds all addresses of "host:port"; listen() is the caller's. How many, 0 after logging why. Resolves: at the start
 * of a process only. */
unsigned listen_bind(const char *where, int *fds, unsigned max);
/* No new connection is begun with `fd`; those that are begun can be accepted. */
void listen_turn_away(int fd);
bool listen_has_more(int fd); /* a connection waits to be accepted */

/* Of a connection. */
void listen_reset(int fd);          /* an end that no reader can take for a good one */
uint64_t listen_bytes_come(int fd); /* read or not; 0 when that is not known */

#endif
