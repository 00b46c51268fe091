/* SPDX-License-Identifier: MIT */
/*
 * trial.c - tries what a daemon needs from its host: its user, its keys, its addresses.
 *
 * Owns nothing. Changes the process's user for good, so only `--check` may call it. A failure is reported and the
 * rest is tried all the same, so that one run names every problem.
 */
#include "common/trial.h"

#include "common/key.h"
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <netdb.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORDS_BYTES 512

bool trial_told(bool is_good, const char *what, const char *detail)
{
    fprintf(is_good ? stdout : stderr, "%s: %s\n", what, detail);
    return is_good;
}

bool trial_user(const char *program, const struct conf *conf)
{
    char name[64], words[WORDS_BYTES];
    snprintf(name, sizeof name, "chasqui-%s", program);
    const struct passwd *user = geteuid() == 0 ? getpwnam(name) : NULL;
    if (geteuid() != 0)
        return true;
    if (!user) {
        snprintf(words, sizeof words,
                 "root, since there is no user %s; what the unit's user may read is not tried", name);
        return trial_told(true, "user", words);
    }
    if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
        return trial_told(false, "user", strerror(errno));
    trial_told(true, "user", name);
    if (!conf->file || access(conf->file, R_OK) == 0)
        return true;
    snprintf(words, sizeof words, "%s cannot read it: %s", name, strerror(errno));
    return trial_told(false, conf->file, words);
}

bool trial_keys(const struct conf *conf, const char *role)
{
    static const char *const servers[] = {"broker", "healthd"};
    uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
    char words[WORDS_BYTES];
    if (!conf->curve_dir)
        return trial_told(true, "curve.dir", "none; every local process may speak to this one");
    bool good = key_read_pair(conf->curve_dir, role, public_key, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    for (unsigned i = 0; i < sizeof servers / sizeof servers[0]; i++)
        good &= key_read_public(conf->curve_dir, servers[i], public_key);
    snprintf(words, sizeof words, "%s/allow", conf->curve_dir);
    DIR *allow = opendir(words);
    good = allow ? good : trial_told(false, words, strerror(errno));
    if (allow)
        closedir(allow);
    snprintf(words, sizeof words, "the keys of %s in %s can be read%s", role, conf->curve_dir,
             good ? "" : " in part at most; see above");
    return trial_told(good, "curve.dir", words);
}

/* Returns 0, or the errno of bind. */
static int address_try(const struct addrinfo *a)
{
    int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int why = bind(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    close(fd);
    return why;
}

/* An address that this host lacks is not a failure while another address of the name exists: localhost without
 * IPv6. */
static bool endpoint_try(const char *key, const char *where)
{
    const char *tcp = strncmp(where, "tcp://", 6) == 0 ? where + 6 : strstr(where, "://") ? NULL : where;
    const char *colon = tcp ? strrchr(tcp, ':') : NULL;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    char host[256], words[WORDS_BYTES];
    if (!colon)
        return true;
    bool is_bracketed = *tcp == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - tcp) - 2 * is_bracketed, tcp + is_bracketed);
    if (if_nametoindex(host)) /* ZeroMQ accepts an interface's name */
        return true;
    bool is_any = !*host || strcmp(host, "*") == 0;
    int rc = getaddrinfo(is_any ? NULL : host, strcmp(colon + 1, "*") == 0 ? "0" : colon + 1, &hints, &found),
        why = 0;
    unsigned bound = 0, in_use = 0;
    for (const struct addrinfo *a = rc == 0 ? found : NULL; a; a = a->ai_next) {
        int failed = address_try(a);
        bound += !failed;
        in_use += failed == EADDRINUSE;
        if (failed && failed != EADDRINUSE && (!why || (failed != EADDRNOTAVAIL && failed != EAFNOSUPPORT)))
            why = failed;
    }
    if (rc == 0)
        freeaddrinfo(found);
    bool good = (bound || in_use) && (!why || why == EADDRNOTAVAIL || why == EAFNOSUPPORT);
    snprintf(words, sizeof words, "%s %s", where,
             rc       ? gai_strerror(rc)
             : !good  ? strerror(why)
             : in_use ? "is in use, by this program if it runs"
                      : "can be bound");
    return trial_told(good, key, words);
}

bool trial_bind(const char *key, const char *list)
{
    unsigned n;
    bool good = true;
    char **where = conf_list(list, &n);
    for (unsigned i = 0; i < n; i++)
        good &= endpoint_try(key, where[i]);
    free(where);
    return good;
}
