/* SPDX-License-Identifier: MIT */
/* listen.h - listening sockets: binding an address, and closing without loss. */
#ifndef CHASQUI_LISTEN_H
#define CHASQUI_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#define LISTEN_BACKLOG 4096

/* Binds all addresses of "host:port"; the caller calls listen(). Returns how many; 0 after logging why. Resolves
 * names, so call it only at the start of a process. */
unsigned listen_bind(const char *where, int *fds, unsigned max);
/* `fd` accepts no new connections; those already begun can still be accepted. */
void listen_turn_away(int fd);
bool listen_has_more(int fd); /* a connection waits to be accepted */

/* For a connection: */
void listen_reset(int fd);          /* an end that no reader can mistake for a good one */
uint64_t listen_bytes_come(int fd); /* read or not; 0 when unknown */

#endif
