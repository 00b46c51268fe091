/* SPDX-License-Identifier: MIT */
/*
 * keys.c - `chasqui keys init DIR`: CURVE key pairs in zcert's format and the
 * keys that seal credentials, sign callbacks and sign viewer links.
 *
 * Must never overwrite a key, and never leave a secret that others can read. With --owner each secret is its unit's user's.
 * Fails by removing what it wrote. The one file of this program that includes
 * czmq.
 */
#include "ctl/ctl.h"

#include "common/key.h"
#include "db/seal.h"

#include <czmq.h>
#include <errno.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const roles[] = {"broker", "dispatcher", "healthd", "ctl"};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))
#define FILES_MAX (N_ROLES * 3 + 3)
#define PATH_ROOM (KEY_DIR_BYTES_MAX + 40)

/* The users of the shipped units, by role; ctl's key stays with who runs the command. The three other files are the dispatcher's. */
static const char *const unit_user[N_ROLES] = {"chasqui-broker", "chasqui-dispatcher", "chasqui-healthd", NULL};
#define UNIT_OF_SEAL 1

/* Every file that is made, so that all can be looked for before and taken back after a failure. */
struct files {
    char path[FILES_MAX][PATH_ROOM];
    unsigned n;
};

static void files_name(struct files *f, const char *dir)
{
    f->n = 0;
    for (unsigned i = 0; i < N_ROLES; i++) {
        snprintf(f->path[f->n++], PATH_ROOM, "%s/%s.key", dir, roles[i]);
        snprintf(f->path[f->n++], PATH_ROOM, "%s/%s.key_secret", dir, roles[i]);
        snprintf(f->path[f->n++], PATH_ROOM, "%s/allow/%s.key", dir, roles[i]);
    }
    snprintf(f->path[f->n++], PATH_ROOM, "%s/seal.key", dir);
    snprintf(f->path[f->n++], PATH_ROOM, "%s/webhook.key", dir);
    snprintf(f->path[f->n++], PATH_ROOM, "%s/viewer.key", dir);
}

static bool pair_make(const struct files *f, unsigned i)
{
    zcert_t *cert = zcert_new();
    if (!cert)
        return false;
    zcert_set_meta(cert, "role", "%s", roles[i]);
    bool good = zcert_save(cert, f->path[3 * i]) == 0 && chmod(f->path[3 * i + 1], 0400) == 0 &&
                zcert_save_public(cert, f->path[3 * i + 2]) == 0 && chmod(f->path[3 * i], 0644) == 0 &&
                chmod(f->path[3 * i + 2], 0644) == 0;
    sodium_memzero((void *)(uintptr_t)zcert_secret_key(cert), KEY_BYTES);
    zcert_destroy(&cert);
    return good;
}

/* mkdir that takes an existing directory as it is. *made: there was none. */
static bool dir_make(const char *path, bool *made)
{
    struct stat st;
    *made = mkdir(path, 0700) == 0;
    if (*made || errno != EEXIST)
        return *made;
    errno = ENOTDIR;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

struct owner {
    uid_t uid;
    gid_t gid;
};

/* false after saying why. */
static bool owners_find(struct ctl *c, struct owner owner[N_ROLES])
{
    for (unsigned i = 0; i < N_ROLES; i++) {
        const struct passwd *user = unit_user[i] ? getpwnam(unit_user[i]) : NULL;
        if (unit_user[i] && !user) {
            ctl_fail(
                c,
                "there is no user %s; the packages, or systemd-sysusers after make install, make it. Nothing was made",
                unit_user[i]);
            return false;
        }
        owner[i] = user ? (struct owner){user->pw_uid, user->pw_gid} : (struct owner){geteuid(), getegid()};
    }
    return true;
}

/* Each secret is its unit's, and the directories may be entered by all of them. 0, or a negative errno. */
static int files_give(const struct files *f, const char *dir, const char *allow, const struct owner owner[N_ROLES])
{
    for (unsigned i = 0; i < f->n; i++) {
        bool is_secret = i >= 3 * N_ROLES || i % 3 == 1;
        const struct owner *to = &owner[i < 3 * N_ROLES ? i / 3 : UNIT_OF_SEAL];
        if (is_secret && chown(f->path[i], to->uid, to->gid) != 0)
            return -errno;
    }
    return chmod(dir, 0755) == 0 && chmod(allow, 0755) == 0 ? 0 : -errno;
}

static enum ctl_exit answer(struct ctl *c, const char *dir, const struct files *f)
{
    if (c->args.json) {
        struct jv *body = jv_new_object(), *files = jv_new_array();
        jv_set_str(body, "dir", dir);
        for (unsigned i = 0; i < f->n; i++)
            jv_push_str(files, f->path[i]);
        jv_set(body, "files", files);
        return ctl_json(body);
    }
    printf("made CURVE keys of broker, dispatcher, healthd and ctl, seal.key, webhook.key and viewer.key in %s\n"
           "put into the configuration:\n\n"
           "curve\n    dir = \"%s\"\n"
           "seal\n    key_file = \"%s/seal.key\"\n"
           "webhook\n    secret_file = \"%s/webhook.key\"\n\n"
           "viewer.key signs viewer links once the robots have it too:\n"
           "viewer\n    key_file = \"%s/viewer.key\"\n",
           dir, dir, dir, dir, dir);
    return CTL_DONE;
}

enum ctl_exit keys_init(struct ctl *c)
{
    struct files f;
    struct owner owner[N_ROLES];
    char dir[KEY_DIR_BYTES_MAX + 1], allow[PATH_ROOM];
    bool made, made_allow = false;
    size_t len = strlen(c->args.word[0]);
    while (len > 1 && c->args.word[0][len - 1] == '/')
        len--;
    if (!len || len > KEY_DIR_BYTES_MAX)
        return ctl_usage(c, "DIR must be a path of 1 to %d bytes", KEY_DIR_BYTES_MAX);
    snprintf(dir, sizeof(dir), "%.*s", (int)len, c->args.word[0]);
    files_name(&f, dir);
    for (unsigned i = 0; i < f.n; i++) {
        struct stat st;
        if (lstat(f.path[i], &st) == 0)
            return ctl_fail(c, "%s is there already; nothing is overwritten and nothing was made", f.path[i]);
    }
    if (c->args.n[OPT_OWNER] && !owners_find(c, owner))
        return CTL_FAILED;
    snprintf(allow, sizeof(allow), "%s/allow", dir);
    umask(077);
    if (!dir_make(dir, &made))
        return ctl_fail(c, "%s cannot be made: %s", dir, strerror(errno));
    errno = 0;
    bool good = dir_make(allow, &made_allow);
    for (unsigned i = 0; i < N_ROLES && good; i++)
        good = pair_make(&f, i);
    int failed = errno;
    int rc = good ? 0 : -(failed ? failed : EIO);
    for (unsigned i = 3 * N_ROLES; i < f.n && rc == 0; i++)
        rc = seal_key_make(f.path[i]); /* webhook.key and viewer.key are as random */
    if (rc == 0 && c->args.n[OPT_OWNER])
        rc = files_give(&f, dir, allow, owner);
    if (rc == 0)
        return answer(c, dir, &f);
    for (unsigned i = 0; i < f.n; i++)
        unlink(f.path[i]);
    if (made_allow)
        rmdir(allow);
    if (made)
        rmdir(dir);
    return ctl_fail(c, "no keys were made in %s: %s", dir, strerror(-rc));
}
