/* SPDX-License-Identifier: MIT */
/*
 * submit.c - `chasqui batch submit`: a file's items go up as they are read. The
 * Idempotency-Key is made of the file and the options: after a cut the same
 * command goes on where it was, and a second time it changes nothing.
 */
#include "ctl/batch.h"
#include "ctl/item_file.h"
#include "ctl/plain.h"
#include "ctl/progress.h"
#include "ctl/then.h"

#include "common/id.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_ROOM 256
#define PIECE_BYTES 65536

struct submit {
    struct ctl *c;
    const char *path, *portal, *action, *callback_url, *name;
    struct steps steps;
    char *then; /* JSON; NULL = none */
    uint64_t priority;
    char key[KEY_ROOM];
    struct item_file *file;
    struct progress progress;
};

static void hash_text(crypto_hash_sha256_state *hash, const char *text)
{
    crypto_hash_sha256_update(hash, (const uint8_t *)text, strlen(text) + 1);
}

/* false after saying why. */
static bool hash_file(struct ctl *c, crypto_hash_sha256_state *hash, const char *path)
{
    uint8_t piece[PIECE_BYTES];
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            crypto_hash_sha256_update(hash, piece, (unsigned long long)n);
    if (n < 0)
        ctl_fail(c, "%s cannot be read: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    explicit_bzero(piece, sizeof(piece));
    return n == 0;
}

static bool key_make(struct submit *s)
{
    const char *given = args_value(&s->c->args, OPT_KEY);
    crypto_hash_sha256_state hash;
    uint8_t digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof(digest) + 1], priority[4];
    if (given) {
        snprintf(s->key, sizeof(s->key), "%s", given);
        return true;
    }
    if (strcmp(s->path, "-") == 0) { /* it cannot be read twice */
        id_request(hex);
        snprintf(s->key, sizeof(s->key), "ctl-%s", hex);
        return true;
    }
    snprintf(priority, sizeof(priority), "%u", (unsigned)s->priority);
    crypto_hash_sha256_init(&hash);
    hash_text(&hash, s->portal);
    hash_text(&hash, s->action);
    hash_text(&hash, priority);
    hash_text(&hash, s->callback_url ? s->callback_url : "");
    if (s->then || s->name || s->c->args.n[OPT_CLOSE]) {
        hash_text(&hash, s->then ? s->then : "");
        hash_text(&hash, s->name ? s->name : "");
        hash_text(&hash, s->c->args.n[OPT_CLOSE] ? "close" : "");
    }
    if (!hash_file(s->c, &hash, s->path))
        return false;
    crypto_hash_sha256_final(&hash, digest);
    id_hex(digest, sizeof(digest), hex);
    snprintf(s->key, sizeof(s->key), "ctl-%s", hex);
    return true;
}

static long lines_give(void *arg, char *out, size_t room)
{
    struct submit *s = arg;
    long n = item_file_read(s->file, out, room);
    progress_rows(&s->progress, item_file_lines(s->file));
    return n;
}

/* What the broker rejected, by the lines of the file: appended to what was left out here. */
static struct jv *rejected_collect(const struct submit *s, const struct jv *rejected)
{
    struct jv *all = jv_copy(item_file_bad(s->file));
    for (size_t i = 0; i < jv_len(rejected); i++) {
        const struct jv *r = jv_at(rejected, i);
        struct jv *one = jv_new_object();
        struct buf text = {0};
        int64_t index = -1;
        jv_int(jv_get(r, "index"), &index);
        item_file_errors(&text, jv_get(r, "errors"));
        jv_set_int(one, "line", (int64_t)item_file_line(s->file, (uint64_t)index));
        jv_set_str(one, "error", text.len ? text.data : jv_str(jv_get(r, "error")));
        jv_push(all, one);
        buf_free(&text);
    }
    return all;
}

static void rejected_print(const struct jv *rejected, uint64_t total)
{
    char number[TEXT_NUMBER];
    for (size_t i = 0; i < jv_len(rejected); i++) {
        int64_t line = 0;
        const char *error = jv_str(jv_get(jv_at(rejected, i), "error"));
        jv_int(jv_get(jv_at(rejected, i), "line"), &line);
        plain_line(stderr, "line %lld: %s", (long long)line, error ? error : "rejected");
    }
    if (total > jv_len(rejected))
        fprintf(stderr, "and %s more\n", number_text(total - jv_len(rejected), number));
}

static enum ctl_exit sent(struct submit *s, struct http_answer *a)
{
    struct ctl *c = s->c;
    int64_t batch_id = 0, accepted = 0, refused = 0;
    char number[TEXT_AMOUNT], other[TEXT_NUMBER];
    jv_int(jv_get(a->body, "batch_id"), &batch_id);
    jv_int(jv_get(a->body, "accepted"), &accepted);
    jv_int(jv_get(a->body, "rejected_total"), &refused);
    uint64_t total = (uint64_t)refused + item_file_bad_total(s->file);
    struct jv *rejected = rejected_collect(s, jv_get(a->body, "rejected"));
    rejected_print(rejected, total);
    if (c->args.json && !c->args.n[OPT_FOLLOW]) {
        jv_set_bool(a->body, "ok", total == 0);
        jv_set_int(a->body, "rejected_total", (int64_t)total);
        jv_set(a->body, "rejected", rejected);
        jv_set_bool(a->body, "replayed", a->replayed);
        jv_set_str(a->body, "key", s->key);
        ctl_json(a->body);
    } else {
        jv_free(rejected);
        jv_free(a->body);
    }
    if (!c->args.json && a->replayed)
        printf("this was submitted before, as batch %lld; another --key makes a new one\n", (long long)batch_id);
    if (!c->args.json)
        printf("batch %lld: %s accepted, %s rejected\n", (long long)batch_id,
               amount_text((uint64_t)accepted, "item", number), number_text(total, other));
    fflush(stdout);
    enum ctl_exit code = total ? CTL_FAILED : CTL_DONE;
    if (!c->args.n[OPT_FOLLOW])
        return code;
    enum ctl_exit followed = batch_follow(c, (uint64_t)batch_id);
    return code == CTL_DONE ? followed : code;
}

static enum ctl_exit send(struct submit *s)
{
    struct buf path = {0};
    struct http_request request = {
        .method = "POST", .ndjson = lines_give, .ndjson_arg = s, .idempotency_key = s->key};
    struct http_answer answer;
    buf_addf(&path, "/api/v1/app/batches?portal=%s&action=%s&priority=%u", s->portal, s->action,
             (unsigned)s->priority);
    if (s->callback_url) {
        buf_adds(&path, "&callback_url=");
        http_escape(&path, s->callback_url);
    }
    if (s->name) {
        buf_adds(&path, "&name=");
        http_escape(&path, s->name);
    }
    if (s->then) {
        buf_adds(&path, "&then=");
        http_escape(&path, s->then);
    }
    if (s->c->args.n[OPT_CLOSE])
        buf_adds(&path, "&close=true");
    request.path = path.data;
    progress_begin(&s->progress);
    request.base_url = s->c->conf->ctl_api_url;
    http_ask(s->c, &request, &answer);
    progress_end(&s->progress);
    buf_free(&path);
    if (broker_is_good(&answer))
        return sent(s, &answer);
    rejected_print(item_file_bad(s->file), item_file_bad_total(s->file));
    broker_refused(s->c, DOOR_APP, &answer);
    jv_free(answer.body);
    if (!answer.status || answer.status >= 500)
        fprintf(stderr, "what was accepted stays accepted; run the same command again to go on%s%s\n",
                strcmp(s->path, "-") == 0 ? ", with --key " : "", strcmp(s->path, "-") == 0 ? s->key : "");
    return CTL_FAILED;
}

static bool key_ok(struct ctl *c)
{
    const char *key = args_value(&c->args, OPT_KEY);
    size_t len = key ? strlen(key) : 1;
    bool good = len >= 1 && len < KEY_ROOM;
    for (size_t i = 0; key && i < len; i++)
        good &= key[i] >= ' ' && key[i] <= '~';
    if (!good)
        ctl_usage(c, "--key must be 1 to 255 printable ASCII characters");
    return good;
}

enum ctl_exit batch_submit(struct ctl *c)
{
    struct submit s = {.c = c, .path = c->args.word[0]};
    if (!args_portal(c, &s.portal) || !args_action(c, s.portal, &s.action) || !args_priority(c, &s.priority) ||
        !args_callback_url(c, &s.callback_url) || !key_ok(c))
        return CTL_USAGE;
    if (!args_then(c, s.portal, &s.steps))
        return CTL_USAGE;
    s.name = args_value(&c->args, OPT_NAME);
    s.then = then_text(&s.steps);
    enum ctl_exit code = CTL_FAILED;
    if (key_make(&s) && (s.file = item_file_open(c, s.path)))
        code = send(&s);
    if (s.file)
        item_file_close(&s.file);
    free(s.then);
    steps_free(&s.steps);
    return code;
}
