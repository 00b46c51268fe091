/* SPDX-License-Identifier: MIT */
/*
 * host_slot.h - the number of a process among its kind on this host: the first, the second, ... The number becomes
 * free at the moment the process ends, however it ends, so a restarted process gets its old number again.
 */
#ifndef CHASQUI_HOST_SLOT_H
#define CHASQUI_HOST_SLOT_H

/* Returns 1, 2, ...; held until this process ends. Where sockets cannot tell (thousands run, or the machine has no
 * unix sockets) it returns the process id, which is unique as well. */
unsigned host_slot(const char *kind);

#endif
