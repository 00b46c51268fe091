/* SPDX-License-Identifier: MIT */
/* key.c - reads CURVE keys through czmq's zcert. Its copies of secrets are overwritten. */
#include "common/key.h"

#include "common/log.h"
#include <czmq.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_BYTES 256 /* zcert_load's own limit */

static bool complain(const char *path, const char *why)
{
    log_line(LOG_ERROR, "key_unreadable", "file", path, "why", why, NULL);
    return false;
}

static zcert_t *load(const char *dir, const char *role, char path[PATH_BYTES])
{
    if (strlen(dir) > KEY_DIR_BYTES_MAX)
        return NULL;
    snprintf(path, PATH_BYTES, "%s/%.32s.key", dir, role);
    return zcert_load(path);
}

/* Copies the public key of cert and destroys cert. Returns false when there is none. */
static bool take_public(zcert_t *cert, uint8_t public_key[KEY_BYTES])
{
    bool good = cert && !sodium_is_zero(zcert_public_key(cert), KEY_BYTES);
    if (good)
        memcpy(public_key, zcert_public_key(cert), KEY_BYTES);
    if (cert)
        sodium_memzero((void *)zcert_secret_key(cert), KEY_BYTES);
    zcert_destroy(&cert);
    return good;
}

bool key_read_public(const char *dir, const char *role, uint8_t public_key[KEY_BYTES])
{
    char path[PATH_BYTES] = "";
    return take_public(load(dir, role, path), public_key) ||
           complain(*path ? path : dir, "no public CURVE key can be read from it");
}

static zcert_t *load_old(const char *dir, const char *role)
{
    char path[PATH_BYTES], name[KEY_ROLE_BYTES + 8];
    snprintf(name, sizeof name, "%.24s-old", role);
    return load(dir, name, path);
}

bool key_read_old(const char *dir, const char *role, uint8_t public_key[KEY_BYTES])
{
    return take_public(load_old(dir, role), public_key);
}

bool key_read_old_pair(const char *dir, const char *role, uint8_t public_key[KEY_BYTES],
                       uint8_t secret_key[KEY_BYTES])
{
    zcert_t *cert = load_old(dir, role);
    if (cert && !sodium_is_zero(zcert_secret_key(cert), KEY_BYTES))
        memcpy(secret_key, zcert_secret_key(cert), KEY_BYTES);
    else
        zcert_destroy(&cert);
    return take_public(cert, public_key);
}

bool key_read_file(const char *path, uint8_t public_key[KEY_BYTES], char role[KEY_ROLE_BYTES])
{
    zcert_t *cert = zcert_load(path);
    const char *named = cert ? zcert_meta(cert, "role") : NULL;
    snprintf(role, KEY_ROLE_BYTES, "%s", named && strlen(named) < KEY_ROLE_BYTES ? named : "");
    return take_public(cert, public_key);
}

bool key_read_pair(const char *dir, const char *role, uint8_t public_key[KEY_BYTES], uint8_t secret_key[KEY_BYTES])
{
    char path[PATH_BYTES] = "";
    struct stat st;
    zcert_t *cert = load(dir, role, path);
    bool good = cert && !sodium_is_zero(zcert_secret_key(cert), KEY_BYTES);
    if (good) {
        memcpy(public_key, zcert_public_key(cert), KEY_BYTES);
        memcpy(secret_key, zcert_secret_key(cert), KEY_BYTES);
    }
    if (cert)
        sodium_memzero((void *)zcert_secret_key(cert), KEY_BYTES);
    zcert_destroy(&cert);
    strcat(path, *path ? "_secret" : "");
    if (!good)
        return complain(*path ? path : dir, "no CURVE key pair can be read from it; chasqui keys init makes them");
    if (stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)))
        log_line(LOG_WARN, "key_open", "file", path, "why", "others can read this secret; chmod 600 it", NULL);
    return true;
}
