/* SPDX-License-Identifier: MIT */
/*
 * host_slot.h - which of its kind a process is on this host: the first, the
 * second, ... The number is free again the moment the process ends, however it
 * ends, so that one that was restarted gets the number that it had.
 */
#ifndef CHASQUI_HOST_SLOT_H
#define CHASQUI_HOST_SLOT_H

/* 1, 2, ...; held until this process ends. Where sockets cannot say it (thousands run, or the machine has no unix sockets): its
 * process id, which is unique as well. */
unsigned host_slot(const char *kind);

#endif
