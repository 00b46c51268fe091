/* SPDX-License-Identifier: MIT */
/*
 * host_slot.c - a slot is an abstract unix socket that is bound and never used. The kernel lets one process of a
 * network namespace hold each name, and frees the name when the process ends. No file is left behind.
 */
#include "common/host_slot.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SLOTS_MAX 1000

unsigned host_slot(const char *kind)
{
    for (unsigned slot = 1; slot <= SLOTS_MAX; slot++) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int len = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "%s-%u", kind, slot);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            break;
        if (bind(fd, (const struct sockaddr *)&at,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0)
            return slot; /* the descriptor is the slot */
        close(fd);
    }
    return (unsigned)getpid();
}
