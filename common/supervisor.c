/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - the only file that includes libsystemd.
 *
 * sd_notify() blocks when the supervisor does not read its socket, so a thread of its own calls it. The loop
 * passes messages to it through a socket pair and never waits. A message that finds the pair full is lost; the
 * next one follows. A timer of the loop feeds the watchdog twice within its period. So a stalled loop is
 * restarted, and a slow supervisor does no harm.
 *
 * libsystemd rather than the twenty lines that write the datagram, because it also handles abstract and vsock
 * addresses, and knows which process the watchdog is meant for.
 */
#include "common/supervisor.h"

#include "common/check.h"
#include "common/log.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define WORD_BYTES 64
#define LAST_WORD_MS 300 /* how long the end waits for the supervisor to receive STOPPING */

struct supervisor {
    struct loop *loop;
    struct loop_timer timer;
    uint64_t every_ms; /* 0 = no watchdog */
    int words;         /* -1 = no supervisor listens */
    pthread_t thread;
};

static void *teller(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char word[WORD_BYTES];
    for (ssize_t n; (n = recv(fd, word, sizeof word - 1, 0)) > 0;) {
        word[n] = '\0';
        sd_notify(0, word);
    }
    close(fd);
    return NULL;
}

static void tell(struct supervisor *s, const char *word)
{
    if (s->words >= 0)
        send(s->words, word, strlen(word), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void feed(void *arg)
{
    struct supervisor *s = arg;
    tell(s, "WATCHDOG=1");
    loop_timer_in(s->loop, &s->timer, s->every_ms);
}

static bool teller_start(int fd, pthread_t *thread)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_started = pthread_create(thread, NULL, teller, (void *)(intptr_t)fd) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return is_started;
}

struct supervisor *supervisor_new(struct loop *l)
{
    struct supervisor *s = xcalloc(1, sizeof *s);
    uint64_t within_us = 0;
    int ends[2];
    s->loop = l;
    s->words = -1;
    s->timer = (struct loop_timer){.fn = feed, .arg = s};
    if (!getenv("NOTIFY_SOCKET") || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return s;
    if (!teller_start(ends[1], &s->thread)) {
        close(ends[0]);
        close(ends[1]);
        return s;
    }
    s->words = ends[0];
    if (sd_watchdog_enabled(0, &within_us) > 0)
        s->every_ms = within_us / 2000 ? within_us / 2000 : 1;
    return s;
}

void supervisor_ready(struct supervisor *s)
{
    tell(s, "READY=1");
    if (s->every_ms)
        feed(s);
}

void supervisor_stopping(struct supervisor *s)
{
    tell(s, "STOPPING=1");
}

/* The thread ends when it has sent its messages, or with the process: the end never waits long for a
 * supervisor. */
void supervisor_destroy(struct supervisor **sp)
{
    struct supervisor *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    loop_timer_stop(s->loop, &s->timer);
    if (s->words >= 0) {
        struct timespec until;
        close(s->words);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LAST_WORD_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_timedjoin_np(s->thread, NULL, &until) != 0)
            pthread_detach(s->thread);
    }
    free(s);
}
