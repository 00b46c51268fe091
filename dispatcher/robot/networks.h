/* SPDX-License-Identifier: MIT */
/*
 * networks.h - the address ranges that robots may resolve to (robot.allow_addresses).
 */
#ifndef CHASQUI_NETWORKS_H
#define CHASQUI_NETWORKS_H

#include <stdbool.h>
#include <sys/socket.h>

struct networks;

/* Parses a comma list of addresses and CIDR networks; NULL or "" = every address. Unreadable items are logged and
 * skipped. If no item of a non-empty list is readable, no address is allowed. */
struct networks *networks_new(const char *list);
void networks_destroy(struct networks **np);
/* IPv4 and IPv6; an IPv4 address mapped into IPv6 counts as IPv4. */
bool networks_hold(const struct networks *n, const struct sockaddr *address);

#endif
