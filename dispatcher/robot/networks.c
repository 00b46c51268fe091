/* SPDX-License-Identifier: MIT */
/*
 * networks.c - the addresses that robots may have. Fails closed: a list without any readable item allows no
 * address.
 */
#include "dispatcher/robot/networks.h"

#include "common/check.h"
#include "common/conf.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct network {
    int family;
    uint8_t bytes[16];
    unsigned bits;
};

struct networks {
    bool any;
    unsigned n;
    struct network rows[];
};

static bool network_read(char *text, struct network *out)
{
    char *slash = strchr(text, '/'), *end = NULL;
    if (slash)
        *slash = 0;
    out->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    unsigned most = out->family == AF_INET ? 32 : 128;
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : most;
    bool good =
        inet_pton(out->family, text, out->bytes) == 1 && bits <= most && (!slash || (end != slash + 1 && !*end));
    if (slash)
        *slash = '/';
    out->bits = (unsigned)bits;
    return good;
}

struct networks *networks_new(const char *list)
{
    unsigned n;
    char **items = conf_list(list ? list : "", &n);
    struct networks *made = xcalloc(1, sizeof(*made) + n * sizeof(made->rows[0]));
    made->any = n == 0;
    for (unsigned i = 0; i < n; i++)
        if (network_read(items[i], &made->rows[made->n]))
            made->n++;
        else
            log_line(LOG_ERROR, "network_ignored", "key", "robot.allow_addresses", "value", items[i], NULL);
    free(items);
    return made;
}

void networks_destroy(struct networks **np)
{
    free(*np);
    *np = NULL;
}

bool networks_hold(const struct networks *n, const struct sockaddr *address)
{
    int family = address->sa_family;
    const uint8_t *bytes = NULL;
    if (n->any)
        return true;
    if (family == AF_INET)
        bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        bytes = a->s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a)) {
            family = AF_INET;
            bytes += 12;
        }
    }
    for (unsigned i = 0; bytes && i < n->n; i++) {
        const struct network *net = &n->rows[i];
        unsigned whole = net->bits / 8, rest = net->bits % 8;
        if (net->family == family && memcmp(bytes, net->bytes, whole) == 0 &&
            (!rest || ((bytes[whole] ^ net->bytes[whole]) & (0xff00 >> rest) & 0xff) == 0))
            return true;
    }
    return false;
}
