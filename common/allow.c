/* SPDX-License-Identifier: MIT */
/*
 * allow.c - keeps the allow-list of one directory in memory. Fails closed: a key is admitted only while its file
 * existed and was readable at the last look.
 */
#include "common/allow.h"

#include "common/check.h"
#include "common/log.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX 16384
#define PATH_BYTES_MAX 240 /* zcert_load cuts longer ones */

struct entry {
    uint8_t key[KEY_BYTES];
    char role[KEY_ROLE_BYTES];
};

struct allow {
    char *dir;
    struct entry *entries;
    unsigned n;
    uint64_t seen; /* fingerprint of the directory when `entries` were read */
    bool is_missing;
};

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static int is_key_file(const struct dirent *d)
{
    size_t len = strlen(d->d_name);
    return d->d_name[0] != '.' && len > 4 && strcmp(d->d_name + len - 4, ".key") == 0;
}

static bool is_role(const char *s)
{
    size_t len = strlen(s);
    return len >= 1 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool read_entry(const char *path, const char *name, struct entry *e)
{
    if (!key_read_file(path, e->key, e->role))
        return false;
    if (!*e->role)
        snprintf(e->role, sizeof e->role, "%.*s", (int)strcspn(name, "-."), name);
    return is_role(e->role);
}

static uint64_t fingerprint(const char *dir, struct dirent **names, int n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < n; i++) {
        char path[PATH_BYTES_MAX];
        struct stat st;
        snprintf(path, sizeof path, "%s/%.200s", dir, names[i]->d_name);
        h = mix(h, names[i]->d_name, strlen(names[i]->d_name) + 1);
        if (stat(path, &st) == 0) {
            h = mix(h, &st.st_ino, sizeof st.st_ino);
            h = mix(h, &st.st_size, sizeof st.st_size);
            h = mix(h, &st.st_mtim, sizeof st.st_mtim);
            h = mix(h, &st.st_ctim, sizeof st.st_ctim);
        }
    }
    return h;
}

static void read_all(struct allow *a, struct dirent **names, int n)
{
    struct entry *entries = xcalloc((unsigned)n, sizeof *entries);
    unsigned count = 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_BYTES_MAX];
        struct stat st;
        int len = snprintf(path, sizeof path, "%s/%.200s", a->dir, names[i]->d_name);
        if (len < (int)sizeof path && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
            st.st_size <= FILE_BYTES_MAX && read_entry(path, names[i]->d_name, &entries[count]))
            count++;
        else
            log_line(LOG_WARN, "allow_unreadable", "file", names[i]->d_name, NULL);
    }
    free(a->entries);
    a->entries = entries;
    a->n = count;
}

void allow_refresh(struct allow *a)
{
    struct dirent **names = NULL;
    int n = scandir(a->dir, &names, is_key_file, alphasort);
    if (n < 0) {
        if (!a->is_missing)
            log_line(LOG_ERROR, "allow_missing", "dir", a->dir, "why", strerror(errno), NULL);
        a->is_missing = true;
        a->n = 0;
        a->seen = 0;
        return;
    }
    uint64_t now = fingerprint(a->dir, names, n);
    if (now != a->seen || a->is_missing) {
        read_all(a, names, n);
        a->seen = now;
        a->is_missing = false;
        log_line(LOG_INFO, "allow_read", "dir", a->dir, "keys", log_i(a->n), NULL);
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

struct allow *allow_new(const char *dir)
{
    struct allow *a = xcalloc(1, sizeof *a);
    a->dir = xstrdup(dir);
    allow_refresh(a);
    return a;
}

void allow_destroy(struct allow **ap)
{
    struct allow *a = *ap;
    if (!a)
        return;
    *ap = NULL;
    free(a->entries);
    free(a->dir);
    free(a);
}

const char *allow_role(const struct allow *a, const uint8_t key[KEY_BYTES])
{
    for (unsigned i = 0; i < a->n; i++)
        if (memcmp(a->entries[i].key, key, KEY_BYTES) == 0)
            return a->entries[i].role;
    return NULL;
}
