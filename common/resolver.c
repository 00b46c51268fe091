/* SPDX-License-Identifier: MIT */
/*
 * resolver.c - a cache of names, and threads that look them up.
 *
 * Owns: the names (NAMES_MAX; the longest unused are evicted), at most one look-up for each, and the pipes to the
 * threads. A look-up is a struct that changes owner when its address moves through a pipe; nothing else is shared.
 * Names whose last look-up was slow have threads of their own, so that silent name servers never delay the
 * look-ups of other names. A thread cannot be stopped inside getaddrinfo(): at the end it is left behind and drops
 * its answer.
 *
 * getaddrinfo() rather than c-ares, because it obeys nsswitch.conf, /etc/hosts, mDNS and systemd-resolved like all
 * other programs on the machine.
 */
#include "common/resolver.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NAMES_MAX 16384
#define HOST_BYTES 256
#define REFRESH_MS 30000
#define DOUBT_MS 1000 /* younger answers are not doubted */
#define SLOW_MS 500
#define STACK_BYTES (256 * 1024)

enum pace { FAST, SLOW, PACES };
static const unsigned threads_max[PACES] = {[FAST] = 64, [SLOW] = 4};

struct lookup { /* owned by the holder of its address: the loop, a pipe, a thread */
    char host[HOST_BYTES];
    enum pace pace;
    int rc; /* returned by getaddrinfo() */
    char addresses[RESOLVER_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 3)];
    uint64_t took_ms;
};

struct crew { /* shared by the threads; freed by the last one that leaves */
    atomic_int members;
    int requests[PACES], replies;
};

struct name {
    char host[HOST_BYTES];
    char *addresses; /* NULL = not known */
    struct resolved known;
    uint64_t at_ms, used_ms;
    bool is_asked, is_slow;
    struct resolver_wait *waits;
};

struct resolver {
    struct loop *loop;
    struct name **name;
    uint32_t n;
    struct names by_host;
    uint64_t generation;
    int requests[PACES], replies; /* our ends of the pipes */
    struct loop_fd *watch;
    struct crew *crew;
    unsigned n_threads[PACES], n_asked[PACES];
};

bool resolver_is_needless(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    char bare[INET6_ADDRSTRLEN + 32];
    size_t len = strlen(host);
    if (len > 2 && host[0] == '[' && len < sizeof bare)
        snprintf(bare, sizeof bare, "%.*s", (int)(len - 2), host + 1);
    else
        snprintf(bare, sizeof bare, "%.*s", (int)sizeof bare - 1, host);
    bare[strcspn(bare, "%")] = '\0'; /* removes a scope */
    return strcasecmp(host, "localhost") == 0 || inet_pton(AF_INET, bare, address) == 1 ||
           inet_pton(AF_INET6, bare, address) == 1;
}

/* ---- the threads -------------------------------------------------------------------------------------------- */

static void crew_leave(struct crew *crew)
{
    if (atomic_fetch_sub(&crew->members, 1) != 1)
        return;
    for (unsigned i = 0; i < PACES; i++)
        close(crew->requests[i]);
    close(crew->replies);
    free(crew);
}

static void addresses_write(struct lookup *q, const struct addrinfo *found)
{
    char text[INET6_ADDRSTRLEN];
    size_t len = 0;
    for (unsigned n = 0; found && n < RESOLVER_ADDRESSES_MAX; found = found->ai_next) {
        bool is_v6 = found->ai_family == AF_INET6;
        const void *address = is_v6 ? (const void *)&((const struct sockaddr_in6 *)found->ai_addr)->sin6_addr
                                    : (const void *)&((const struct sockaddr_in *)found->ai_addr)->sin_addr;
        if ((!is_v6 && found->ai_family != AF_INET) || !inet_ntop(found->ai_family, address, text, sizeof text))
            continue;
        len += (size_t)snprintf(q->addresses + len, sizeof q->addresses - len, is_v6 ? "%s[%s]" : "%s%s",
                                n++ ? "," : "", text);
    }
}

struct post {
    struct crew *crew;
    enum pace pace;
};

static void *answerer(void *arg)
{
    struct post post = *(struct post *)arg;
    struct lookup *q;
    free(arg);
    while (read(post.crew->requests[post.pace], &q, sizeof q) == sizeof q) {
        const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        uint64_t began_ms = clock_ms();
        q->rc = getaddrinfo(q->host, NULL, &hints, &found);
        q->took_ms = clock_ms() - began_ms;
        if (q->rc == 0) {
            addresses_write(q, found);
            freeaddrinfo(found);
        }
        if (write(post.crew->replies, &q, sizeof q) != sizeof q)
            free(q); /* the resolver is gone */
    }
    crew_leave(post.crew);
    return NULL;
}

static void thread_add(struct resolver *r, enum pace pace)
{
    struct post *post = xmalloc(sizeof *post);
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    *post = (struct post){r->crew, pace};
    atomic_fetch_add(&r->crew->members, 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_started = pthread_create(&thread, &attr, answerer, post) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (is_started) {
        r->n_threads[pace]++;
        return;
    }
    crew_leave(r->crew);
    free(post);
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static struct name *name_of(struct resolver *r, const char *host)
{
    uint32_t at = names_find(&r->by_host, host);
    return at == NAMES_NONE ? NULL : r->name[at];
}

static int unused_first(const void *a, const void *b)
{
    const struct name *one = *(struct name *const *)a, *other = *(struct name *const *)b;
    return one->used_ms < other->used_ms ? -1 : one->used_ms > other->used_ms;
}

/* Evicts the older half of the names without waiters. */
static void names_shed(struct resolver *r)
{
    uint32_t kept = 0;
    qsort(r->name, r->n, sizeof *r->name, unused_first);
    names_clear(&r->by_host);
    for (uint32_t i = 0; i < r->n; i++) {
        struct name *n = r->name[i];
        if (i < r->n / 2 && !n->is_asked && !n->waits) {
            free(n->addresses);
            free(n);
            continue;
        }
        r->name[kept] = n;
        names_add(&r->by_host, n->host, kept++);
    }
    r->n = kept;
}

/* Returns NULL when the name is too long, or too many names are being looked up. */
static struct name *name_make(struct resolver *r, const char *host)
{
    struct name *n = name_of(r, host);
    if (n || strlen(host) >= HOST_BYTES)
        return n;
    if (r->n == NAMES_MAX)
        names_shed(r);
    if (r->n == NAMES_MAX)
        return NULL;
    n = xcalloc(1, sizeof *n);
    strcpy(n->host, host);
    r->name[r->n] = n;
    names_add(&r->by_host, n->host, r->n++);
    return n;
}

static void ask(struct resolver *r, struct name *n)
{
    if (n->is_asked)
        return;
    struct lookup *q = xcalloc(1, sizeof *q);
    strcpy(q->host, n->host);
    q->pace = n->is_slow ? SLOW : FAST;
    if (write(r->requests[q->pace], &q, sizeof q) !=
        sizeof q) { /* the pipe is full; looked up again at the next use */
        free(q);
        return;
    }
    n->is_asked = true;
    if (++r->n_asked[q->pace] > r->n_threads[q->pace] && r->n_threads[q->pace] < threads_max[q->pace])
        thread_add(r, q->pace);
}

static void wait_end(struct resolver_wait *w, const struct resolved *found, const char *why)
{
    resolver_forget(w);
    w->fn(w->arg, found, why);
}

static bool is_final(int rc)
{
    return rc == EAI_NONAME || rc == EAI_NODATA || rc == EAI_ADDRFAMILY;
}

/* Name servers rotate the order with each answer. */
static bool is_same_set(const char *one, const char *other)
{
    if (strlen(one) != strlen(other))
        return false;
    for (const char *p = one; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        const char *found = other;
        while (*found && (strcspn(found, ",") != len || strncmp(found, p, len) != 0)) {
            found += strcspn(found, ",");
            found += strspn(found, ",");
        }
        if (!*found)
            return false;
        p += len;
    }
    return true;
}

static void answered(struct resolver *r, const struct lookup *q)
{
    struct name *n = name_of(r, q->host);
    bool is_good = q->rc == 0 && q->addresses[0];
    CHECK(n && n->is_asked, "host=%s", q->host);
    r->n_asked[q->pace]--;
    n->is_asked = false;
    n->is_slow = q->took_ms >= SLOW_MS;
    n->at_ms = clock_ms();
    if (is_good && (!n->addresses || !is_same_set(n->addresses, q->addresses))) {
        if (n->addresses)
            log_line(LOG_INFO, "name_moved", "host", n->host, "to", q->addresses, NULL);
        free(n->addresses);
        n->addresses = xstrdup(q->addresses);
        n->known = (struct resolved){n->addresses, ++r->generation};
    } else if (!is_good && is_final(q->rc)) {
        free(n->addresses);
        n->addresses = NULL;
    }
    /* The present waiters; one of them may start another look-up. */
    struct resolver_wait *waits = n->waits;
    n->waits = NULL;
    if (waits)
        waits->link = &waits;
    while (waits)
        wait_end(waits, n->addresses ? &n->known : NULL, q->rc ? gai_strerror(q->rc) : "it has no address");
}

static void replies_ready(void *arg, uint32_t events)
{
    struct resolver *r = arg;
    struct lookup *q;
    (void)events;
    while (read(r->replies, &q, sizeof q) == sizeof q) {
        answered(r, q);
        free(q);
    }
}

/* ---- for users ---------------------------------------------------------------------------------------------- */

const struct resolved *resolver_look(struct resolver *r, const char *host)
{
    struct name *n = name_of(r, host);
    if (!n || !n->addresses)
        return NULL;
    n->used_ms = clock_ms();
    if (n->used_ms >= n->at_ms + REFRESH_MS)
        ask(r, n);
    return &n->known;
}

void resolver_doubt(struct resolver *r, const char *host)
{
    struct name *n = name_of(r, host);
    if (n && clock_ms() >= n->at_ms + DOUBT_MS)
        ask(r, n);
}

static void wait_late(void *arg)
{
    wait_end(arg, NULL, "the name server does not answer");
}

void resolver_wait(struct resolver *r, const char *host, uint64_t within_ms, struct resolver_wait *w)
{
    struct name *n = name_make(r, host);
    w->resolver = r;
    w->timer = (struct loop_timer){.fn = wait_late, .arg = w};
    loop_timer_in(r->loop, &w->timer, n ? within_ms : 0);
    w->next = NULL;
    w->link = NULL;
    if (!n)
        return;
    if ((w->next = n->waits))
        w->next->link = &w->next;
    w->link = &n->waits;
    n->waits = w;
    n->used_ms = clock_ms();
    ask(r, n);
}

void resolver_forget(struct resolver_wait *w)
{
    if (!w->resolver)
        return;
    loop_timer_stop(w->resolver->loop, &w->timer);
    w->resolver = NULL;
    if (w->link && (*w->link = w->next))
        w->next->link = w->link;
    w->link = NULL;
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

struct resolver *resolver_new(struct loop *l)
{
    struct resolver *r = xcalloc(1, sizeof *r);
    int ends[2];
    r->loop = l;
    r->crew = xcalloc(1, sizeof *r->crew);
    atomic_store(&r->crew->members, 1);
    r->name = xcalloc(NAMES_MAX, sizeof(struct name *));
    for (unsigned i = 0; i < PACES; i++) {
        CHECK(pipe2(ends, O_CLOEXEC) == 0, "errno=%d", errno);
        r->crew->requests[i] = ends[0];
        r->requests[i] = ends[1];
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
    }
    CHECK(pipe2(ends, O_CLOEXEC) == 0, "errno=%d", errno);
    r->replies = ends[0];
    r->crew->replies = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    r->watch = loop_fd_add(l, r->replies, EPOLLIN, replies_ready, r);
    CHECK(r->watch, "the kernel watches no more descriptors");
    return r;
}

void resolver_destroy(struct resolver **rp)
{
    struct resolver *r = *rp;
    if (!r)
        return;
    *rp = NULL;
    for (unsigned i = 0; i < PACES; i++)
        close(r->requests[i]); /* idle threads end */
    loop_fd_remove(r->loop, &r->watch);
    for (struct lookup *q; read(r->replies, &q, sizeof q) == sizeof q;)
        free(q);
    close(r->replies); /* the other threads end when they try to answer */
    crew_leave(r->crew);
    for (uint32_t i = 0; i < r->n; i++) {
        while (r->name[i]->waits)
            resolver_forget(r->name[i]->waits);
        free(r->name[i]->addresses);
        free(r->name[i]);
    }
    names_clear(&r->by_host);
    free(r->name);
    free(r);
}
