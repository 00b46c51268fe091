/* SPDX-License-Identifier: MIT */
/*
 * mail.c - one mail, one thread. The thread owns the mail's own copy of everything and ends by writing to an eventfd; the loop never waits for it.
 * A mail that is not waited for any more belongs to its thread, which frees it.
 */
#include "dispatcher/queue/mail.h"

#include "common/check.h"
#include "common/curl_word.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mail_post {
    struct loop *loop;
    struct loop_fd *watch;
    int fd;
    mail_done_fn *fn;
    void *arg;
    atomic_int holders; /* loop and thread: the last one frees */
    atomic_bool is_forgotten;
    /* the thread's, until it has ended */
    char *url, *user, *password, *from, *to;
    long total_ms;
    struct buf text;
    size_t at;
    char why[200]; /* "" = taken */
};

static void post_drop(struct mail_post *p)
{
    if (atomic_fetch_sub(&p->holders, 1) != 1)
        return;
    close(p->fd);
    free(p->url);
    free(p->user);
    if (p->password)
        explicit_bzero(p->password, strlen(p->password));
    free(p->password);
    free(p->from);
    free(p->to);
    buf_free(&p->text);
    free(p);
}

/* ---- in the thread ------------------------------------------------------------------------------------------ */

static size_t text_give(char *out, size_t size, size_t n, void *arg)
{
    struct mail_post *p = arg;
    size_t room = size * n, len = p->text.len - p->at < room ? p->text.len - p->at : room;
    memcpy(out, p->text.data + p->at, len);
    p->at += len;
    return len;
}

static int progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct mail_post *p = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&p->is_forgotten);
}

static struct curl_slist *receivers_of(const char *to)
{
    struct curl_slist *list = NULL;
    char one[330];
    while (*to) {
        to += strspn(to, ", ");
        size_t n = strcspn(to, ", ");
        snprintf(one, sizeof(one), "<%.*s>", (int)n, to);
        if (n)
            list = curl_slist_append(list, one);
        to += n;
    }
    return list;
}

/* A certificate of a mail server beside us is mostly its own; without a password nothing is given away to it. */
static bool is_beside_us(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 || strncmp(host, "[::1]", 5) == 0;
}

/* In our words: curl's may hold more than is anybody's business. */
static void why_write(struct mail_post *p, CURL *e, CURLcode code, const char *curl_text)
{
    long status = 0, verify = 0;
    curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(e, CURLINFO_SSL_VERIFYRESULT, &verify);
    if (code == CURLE_OK)
        p->why[0] = 0;
    else if (code == CURLE_LOGIN_DENIED)
        snprintf(p->why, sizeof(p->why), "the mail server refused user or password");
    else if (code == CURLE_USE_SSL_FAILED)
        snprintf(p->why, sizeof(p->why),
                 "the mail server offers no encryption, and a password is not sent in the clear");
    else if (status >= 400)
        snprintf(p->why, sizeof(p->why), "the mail server answered %ld", status);
    else
        snprintf(p->why, sizeof(p->why), "the mail server cannot be reached: %s",
                 curl_word((int)code, verify, curl_text, false));
}

static void post(struct mail_post *p)
{
    char text[CURL_ERROR_SIZE] = "";
    CURL *e = curl_easy_init();
    CHECK(e, "curl_easy_init");
    struct curl_slist *to = receivers_of(p->to);
    char from[330];
    snprintf(from, sizeof(from), "<%s>", p->from);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(e, CURLOPT_URL, p->url);
    curl_easy_setopt(e, CURLOPT_MAIL_FROM, from);
    curl_easy_setopt(e, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(e, CURLOPT_USERNAME, p->user);
    curl_easy_setopt(e, CURLOPT_PASSWORD, p->password);
    curl_easy_setopt(e, CURLOPT_USE_SSL,
                     (long)(p->password            ? CURLUSESSL_ALL
                            : is_beside_us(p->url) ? CURLUSESSL_NONE
                                                   : CURLUSESSL_TRY));
    curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, text_give);
    curl_easy_setopt(e, CURLOPT_READDATA, p);
    curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)p->text.len);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, p->total_ms);
    curl_easy_setopt(e, CURLOPT_SERVER_RESPONSE_TIMEOUT,
                     p->total_ms / 1000 + 1); /* also of its word when we leave */
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, progress);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, p);
    CURLcode code = curl_easy_perform(e);
    why_write(p, e, code, text);
    curl_easy_cleanup(e);
    curl_slist_free_all(to);
}

static void *run(void *arg)
{
    struct mail_post *p = arg;
    uint64_t one = 1;
    ssize_t n;
    post(p);
    do
        n = write(p->fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    post_drop(p);
    return NULL;
}

/* ---- in the loop -------------------------------------------------------------------------------------------- */

static void ended(void *arg, uint32_t events)
{
    struct mail_post *p = arg;
    char why[sizeof(p->why)];
    mail_done_fn *fn = p->fn;
    void *user = p->arg;
    uint64_t n;
    (void)events;
    if (read(p->fd, &n, sizeof(n)) != sizeof(n)) /* not yet */
        return;
    strcpy(why, p->why);
    loop_fd_remove(p->loop, &p->watch);
    post_drop(p);
    fn(user, why[0] ? why : NULL);
}

static char *copy_of(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

static bool thread_start(struct mail_post *p)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_started = pthread_create(&thread, &attr, run, p) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return is_started;
}

struct mail_post *mail_send(struct loop *l, const struct mail_server *server, struct buf *text, mail_done_fn *fn,
                            void *arg)
{
    struct mail_post *p = xcalloc(1, sizeof(*p));
    p->loop = l;
    p->fn = fn;
    p->arg = arg;
    p->url = copy_of(server->url);
    p->user = copy_of(server->user);
    p->password = copy_of(server->password);
    p->from = copy_of(server->from);
    p->to = copy_of(server->to);
    p->total_ms = server->total_ms;
    p->text = *text;
    *text = (struct buf){0};
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->watch = p->fd >= 0 ? loop_fd_add(l, p->fd, EPOLLIN, ended, p) : NULL;
    atomic_store(&p->holders, 2);
    if (p->watch && thread_start(p))
        return p;
    atomic_store(&p->holders, 1); /* there is no thread */
    loop_fd_remove(l, &p->watch);
    post_drop(p);
    return NULL;
}

void mail_forget(struct mail_post **pp)
{
    struct mail_post *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    loop_fd_remove(p->loop, &p->watch);
    atomic_store(&p->is_forgotten, true);
    post_drop(p);
}
