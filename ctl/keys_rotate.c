/* SPDX-License-Identifier: MIT */
/*
 * keys_rotate.c - `chasqui keys rotate|forget`: new CURVE keys and a new key that seals, while everything runs.
 *
 * Two keys are good at once from `rotate` to `forget`. CURVE: allow/ holds both of each role (read again within 5 s); a process uses its new
 * pair from its next start or connection on; a client that a server's new key does not fit tries the one before (<role>-old.key). Sealing: the
 * file gets the new key as one that opens, and only later as the one that seals; then the rows are sealed again. Each change of a file is a
 * rename. Stopped anywhere, `forget` and `rotate` again lead out of it.
 */
#include "ctl/ctl.h"

#include "common/key.h"
#include "ctl/reseal.h"

#include <czmq.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const roles[] = {"broker", "dispatcher", "healthd", "ctl"};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))
#define PATH_ROOM (KEY_DIR_BYTES_MAX + 40)
#define READ_S 6 /* every process has read its files again by then */
#define COPY_DAYS_MAX 1

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool dir_take(struct ctl *c, char dir[KEY_DIR_BYTES_MAX + 1], char seal_file[PATH_ROOM])
{
    size_t len = strlen(c->args.word[0]);
    while (len > 1 && c->args.word[0][len - 1] == '/')
        len--;
    if (!len || len > KEY_DIR_BYTES_MAX)
        return ctl_usage(c, "DIR must be a path of 1 to %d bytes", KEY_DIR_BYTES_MAX), false;
    snprintf(dir, KEY_DIR_BYTES_MAX + 1, "%.*s", (int)len, c->args.word[0]);
    snprintf(seal_file, PATH_ROOM, "%s/seal.key", dir);
    return true;
}

/* The owner and mode of `like`, so that who read the old file reads the new one. */
static bool file_place(const char *from, const char *to, const char *like, mode_t mode)
{
    struct stat st;
    if (stat(like, &st) == 0 && (chown(from, st.st_uid, st.st_gid) != 0 || chmod(from, st.st_mode & 0777) != 0))
        return false;
    if (!is_there(like) && chmod(from, mode) != 0)
        return false;
    return rename(from, to) == 0;
}

/* Writes cert beside `path` and moves it there: the secret file first, which is the one that is read where it is. */
static bool pair_place(zcert_t *cert, const char *dir, const char *name, const char *like)
{
    char temp[PATH_ROOM], temp_secret[PATH_ROOM + 8], to[PATH_ROOM], to_secret[PATH_ROOM + 8], of[PATH_ROOM],
        of_secret[PATH_ROOM + 8];
    snprintf(temp, sizeof(temp), "%s/.new-%s", dir, name);
    snprintf(to, sizeof(to), "%s/%s.key", dir, name);
    snprintf(of, sizeof(of), "%s/%s.key", dir, like);
    snprintf(temp_secret, sizeof(temp_secret), "%s_secret", temp);
    snprintf(to_secret, sizeof(to_secret), "%s_secret", to);
    snprintf(of_secret, sizeof(of_secret), "%s_secret", of);
    unlink(temp);
    unlink(temp_secret);
    return zcert_save(cert, temp) == 0 && file_place(temp_secret, to_secret, of_secret, 0400) &&
           file_place(temp, to, of, 0644);
}

static bool allow_place(zcert_t *cert, const char *dir, const char *name, const char *like)
{
    char temp[PATH_ROOM], to[PATH_ROOM], of[PATH_ROOM];
    snprintf(temp, sizeof(temp), "%s/.new-%s", dir, name);
    snprintf(to, sizeof(to), "%s/allow/%s.key", dir, name);
    snprintf(of, sizeof(of), "%s/allow/%s.key", dir, like);
    unlink(temp);
    return zcert_save_public(cert, temp) == 0 && file_place(temp, to, of, 0644);
}

static void cert_drop(zcert_t **cert)
{
    if (*cert)
        sodium_memzero((void *)(uintptr_t)zcert_secret_key(*cert), KEY_BYTES);
    zcert_destroy(cert);
}

/* Both keys are allowed before the pair is another. A role whose secret is not in DIR is left alone. */
static bool role_rotate(const char *dir, const char *role, bool *is_done)
{
    char path[PATH_ROOM], secret[PATH_ROOM + 8], old_name[40];
    snprintf(path, sizeof(path), "%s/%s.key", dir, role);
    snprintf(secret, sizeof(secret), "%s_secret", path);
    snprintf(old_name, sizeof(old_name), "%s-old", role);
    *is_done = is_there(secret);
    if (!*is_done)
        return true;
    zcert_t *old = zcert_load(path), *fresh = zcert_new();
    if (old)
        zcert_set_meta(old, "role", "%s", role);
    if (fresh)
        zcert_set_meta(fresh, "role", "%s", role);
    bool good = old && fresh && allow_place(old, dir, old_name, role) && pair_place(old, dir, old_name, role) &&
                allow_place(fresh, dir, role, role) && pair_place(fresh, dir, role, role);
    cert_drop(&old);
    cert_drop(&fresh);
    return good;
}

static enum db_rc rotate_note(struct db *db, void *arg)
{
    const struct ctl *c = arg;
    return ctl_audit(db, c->actor, "keys_rotate", "keys", NULL);
}

static enum db_rc forget_note(struct db *db, void *arg)
{
    const struct ctl *c = arg;
    return ctl_audit(db, c->actor, "keys_forget", "keys", NULL);
}

/* false after saying why. */
static bool rows_seal(struct ctl *c, const char *seal_file, struct resealed *out)
{
    struct seal *key = seal_open(seal_file);
    if (!key)
        return ctl_fail(c, "%s cannot be used to seal", seal_file), false;
    enum db_rc rc = reseal_all(c->db, key, out);
    seal_close(&key);
    if (rc)
        ctl_db_fail(c, rc);
    return !rc;
}

static enum ctl_exit told(struct ctl *c, const char *dir, const struct resealed *rows, const char *next)
{
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_str(body, "dir", dir);
        jv_set_int(body, "resealed", (int64_t)rows->done);
        jv_set_int(body, "unopened", (int64_t)rows->unopened);
        return ctl_json(body);
    }
    printf("%llu rows were sealed again with the new key\n%s", (unsigned long long)rows->done, next);
    if (rows->unopened)
        printf(
            "%llu rows are sealed with a key that is not in seal.key: what they hold is lost unless that key is added to the file\n",
            (unsigned long long)rows->unopened);
    return CTL_DONE;
}

enum ctl_exit keys_rotate(struct ctl *c)
{
    char dir[KEY_DIR_BYTES_MAX + 1], seal_file[PATH_ROOM], path[PATH_ROOM];
    const char *how_long = args_value(&c->args, OPT_FOR);
    uint64_t seconds = READ_S;
    struct resealed rows = {0};
    if (!dir_take(c, dir, seal_file) ||
        (how_long && !args_duration(c, "--for", how_long, COPY_DAYS_MAX, &seconds)))
        return CTL_USAGE;
    unsigned n = seal_keys(seal_file);
    bool is_begun = n > 1;
    for (unsigned i = 0; i < N_ROLES; i++) {
        snprintf(path, sizeof(path), "%s/%s-old.key", dir, roles[i]);
        is_begun |= is_there(path);
    }
    if (!n)
        return ctl_fail(c, "%s cannot be used; nothing was changed", seal_file);
    if (is_begun)
        return ctl_fail(c, "a rotation is under way in %s; chasqui keys forget %s ends it", dir, dir);
    umask(077);
    int rc = seal_key_step(seal_file, SEAL_ADD);
    if (rc)
        return ctl_fail(c, "%s cannot be written: %s", seal_file, strerror(-rc));
    for (unsigned i = 0; i < N_ROLES; i++) {
        bool is_done;
        if (!role_rotate(dir, roles[i], &is_done))
            return ctl_fail(
                c,
                "the keys of %s cannot be written: %s; both keys are good, chasqui keys forget %s and then rotate again",
                roles[i], strerror(errno), dir);
    }
    if (!c->args.json) {
        printf("both keys of each role are allowed; the new seal key opens and will seal in %llu s\n",
               (unsigned long long)seconds);
        fflush(stdout);
    }
    for (unsigned left = (unsigned)seconds; left;)
        left = sleep(left);
    rc = seal_key_step(seal_file, SEAL_PROMOTE);
    if (rc)
        return ctl_fail(c, "%s cannot be written: %s", seal_file, strerror(-rc));
    if (!rows_seal(c, seal_file, &rows) || ctl_tx(c, rotate_note, NULL, c, "") != CTL_DONE)
        return CTL_FAILED;
    return told(
        c, dir, &rows,
        "next: restart the brokers and healthds, one after another (the others connect again by themselves), then\n"
        "chasqui keys forget DIR\n");
}

enum ctl_exit keys_forget(struct ctl *c)
{
    char dir[KEY_DIR_BYTES_MAX + 1], seal_file[PATH_ROOM], path[PATH_ROOM];
    struct resealed rows = {0};
    if (!dir_take(c, dir, seal_file))
        return CTL_USAGE;
    if (!rows_seal(c, seal_file, &rows))
        return CTL_FAILED;
    if (rows.unopened && !c->args.n[OPT_FORCE])
        return ctl_fail(c,
                        "%llu rows are sealed with a key that is not in %s; nothing was changed (--force goes on)",
                        (unsigned long long)rows.unopened, seal_file);
    int rc = seal_key_step(seal_file, SEAL_FORGET);
    if (rc)
        return ctl_fail(c, "%s cannot be written: %s", seal_file, strerror(-rc));
    for (unsigned i = 0; i < N_ROLES; i++) {
        static const char *const parts[][2] = {{"/allow", ""}, {"", "_secret"}, {"", ""}};
        for (unsigned p = 0; p < sizeof(parts) / sizeof(*parts); p++) {
            snprintf(path, sizeof(path), "%s%s/%s-old.key%s", dir, parts[p][0], roles[i], parts[p][1]);
            if (unlink(path) != 0 && errno != ENOENT)
                return ctl_fail(c, "%s cannot be removed: %s", path, strerror(errno));
        }
    }
    if (ctl_tx(c, forget_note, NULL, c, "") != CTL_DONE)
        return CTL_FAILED;
    return told(c, dir, &rows, "the old keys are gone\n");
}
