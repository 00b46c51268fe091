/* SPDX-License-Identifier: MIT */
/*
 * probe.c - probes the health of all robots concurrently.
 *
 * Owns: the robots and their probes, one probe in flight per robot. Must never follow a redirect, read more than
 * 64 KiB, or wait longer than healthd.timeout_ms. A slow robot does not delay the others. The first probes are
 * spread over an interval. Host names are looked up by our resolver, because curl's own would block the loop.
 */
#include "healthd/healthd.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/curl_word.h"
#include "common/id.h"
#include "common/jv.h"
#include "common/log.h"
#include "common/text.h"
#include "common/curl/robot_easy.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#define BODY_MAX 65536
#define STILL_MS 3600000
#define FRESH_EACH 2 /* one probe in FRESH_EACH opens its own connection */

struct prober {
    struct healthd *h;
    CURLM *multi;
    struct resolver *resolver;
    struct loop_timer timer, still;
    struct target *first;
    unsigned n;
};

struct watch {
    struct prober *p;
    struct loop_fd *handle;
    int fd;
};

static void reap(struct prober *p);

static void socket_ready(void *arg, uint32_t events)
{
    struct watch *w = arg;
    struct prober *p = w->p;
    int running, what = (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP) ? CURL_CSELECT_IN : 0) |
                        (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(p->multi, w->fd, what, &running);
    reap(p);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    struct prober *p = user;
    struct watch *w = socket_user;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_fd_remove(p->h->loop, &w->handle);
        free(w);
        curl_multi_assign(p->multi, fd, NULL);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (!w) {
        w = xcalloc(1, sizeof(*w));
        w->p = p;
        w->fd = fd;
        w->handle = loop_fd_add(p->h->loop, fd, events, socket_ready, w);
        curl_multi_assign(p->multi, fd, w);
    } else {
        loop_fd_change(p->h->loop, w->handle, events);
    }
    return 0;
}

static void timer_due(void *arg)
{
    struct prober *p = arg;
    int running;
    curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(p);
}

static int on_timer(CURLM *multi, long in_ms, void *user)
{
    struct prober *p = user;
    (void)multi;
    if (in_ms < 0)
        loop_timer_stop(p->h->loop, &p->timer);
    else
        loop_timer_in(p->h->loop, &p->timer, (uint64_t)in_ms);
    return 0;
}

/* ---- one probe ---------------------------------------------------------------------------------------------- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct target *t = arg;
    if (t->body.len + size * n > BODY_MAX) {
        t->too_big = true;
        return 0;
    }
    buf_add(&t->body, data, size * n);
    return size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct target *t = arg;
    static const char name[] = "X-Robot-Boot:";
    size_t len = size * n, at = sizeof(name) - 1;
    if (len > at && strncasecmp(line, name, at) == 0) {
        while (at < len && (line[at] == ' ' || line[at] == '\t'))
            at++;
        while (len > at && strchr("\r\n \t", line[len - 1]))
            len--;
        text_token(t->boot_header, line + at, len - at);
    }
    return size * n;
}

/* Starts the probe. `waited_ms` of its time limit were spent looking up the name. */
static void probe_go(struct target *t, uint64_t waited_ms)
{
    struct prober *p = t->prober;
    char url[300];
    CURL *e = t->easy;
    uint64_t whole = (uint64_t)p->h->conf->healthd_timeout_ms;
    long limit = (long)(whole > waited_ms ? whole - waited_ms : 1);
    snprintf(url, sizeof(url), "%s/health", t->base_url);
    buf_clear(&t->body);
    t->too_big = false;
    t->error[0] = t->boot_header[0] = 0;
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    easy_prepare(e);
    easy_prepare_tls(e, p->h->conf);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, limit);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, limit);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "chasqui-healthd");
    /* Behind a load balancer with two processes, a kept connection always reaches the same one. */
    long is_fresh = t->n_probes++ % FRESH_EACH == 0;
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, is_fresh);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, is_fresh); /* else each would stay open beside the kept one */
    t->asked_ms = clock_ms();
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity"); /* an encoded answer is decoded all the same */
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
    t->is_busy = true;
    CHECK(curl_multi_add_handle(p->multi, e) == CURLM_OK, "probe of %s", t->name);
}

static void probe_ended(struct target *t, struct probe_result *r);

/* curl keeps the addresses it was given until it is given others. */
static void addresses_give(struct target *t, const struct resolved *known)
{
    struct buf line = {0};
    if (known->generation == t->loaded)
        return;
    buf_addf(&line, "%s:%s:%s", t->host, t->port, known->addresses);
    curl_slist_free_all(t->resolve);
    t->resolve = curl_slist_append(NULL, line.data);
    curl_easy_setopt(t->easy, CURLOPT_RESOLVE, t->resolve);
    t->loaded = known->generation;
    buf_free(&line);
}

static void name_came(void *arg, const struct resolved *found, const char *why)
{
    struct target *t = arg;
    (void)why;
    if (!found) {
        struct probe_result r = {.sessions = -1, .capacity = -1, .why = "unresolvable"};
        probe_ended(t, &r);
        return;
    }
    addresses_give(t, found);
    probe_go(t, clock_ms() - t->began_ms);
}

static void probe_begin(void *arg)
{
    struct target *t = arg;
    struct prober *p = t->prober;
    const struct resolved *known = t->host ? resolver_look(p->resolver, t->host) : NULL;
    if (known)
        addresses_give(t, known);
    if (known || !t->host) {
        probe_go(t, 0);
        return;
    }
    t->began_ms = clock_ms();
    t->wait = (struct resolver_wait){.fn = name_came, .arg = t};
    resolver_wait(p->resolver, t->host, (uint64_t)p->h->conf->healthd_timeout_ms, &t->wait);
}

static void say_why(struct probe_result *r, const char *why)
{
    r->good = false;
    snprintf(r->why, sizeof(r->why), "%s", why);
}

static void body_read(struct target *t, struct probe_result *r)
{
    enum jv_bad why;
    bool ok = false;
    struct jv *body = jv_parse_mended(t->body.data, t->body.len, &why);
    if (jv_type(body) != JV_OBJECT)
        say_why(r, "not_json");
    else if (!jv_bool(jv_get(body, "ok"), &ok) || !ok)
        say_why(r, "not_ok");
    if (!jv_int(jv_get(body, "sessions"), &r->sessions) || r->sessions < 0 || r->sessions > 1000000)
        r->sessions = -1;
    if (!jv_int(jv_get(body, "capacity"), &r->capacity) || r->capacity < 0 || r->capacity > 1000000)
        r->capacity = -1;
    boot_id_read(body, t->boot_header, r->boot_id);
    jv_free(body);
}

/* Describes a connection that failed, or that ended before the first byte of the answer. */
static void say_unconnected(struct target *t, CURLcode code, struct probe_result *r)
{
    long number = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
    if (code == CURLE_COULDNT_CONNECT)
        r->no_process = number == ECONNREFUSED || number == ECONNRESET;
    else
        r->no_process = code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR;
    say_why(r, code == CURLE_COULDNT_CONNECT ? (r->no_process ? "refused" : "unreachable")
               : r->no_process               ? "reset"
                                             : "closed");
}

static void result_read(struct target *t, CURLcode code, struct probe_result *r)
{
    long status = 0, verify = 0;
    curl_off_t took_us = 0;
    *r = (struct probe_result){.good = true, .sessions = -1, .capacity = -1};
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &took_us);
    stat_time(probe_seconds, (uint64_t)took_us);
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    if (t->too_big)
        say_why(r, "too_big");
    else if (code != CURLE_OK) {
        const char *word = curl_word((int)code, verify, t->error, status != 0);
        if (strcmp(word, "refused") == 0 || strcmp(word, "reset") == 0)
            say_unconnected(t, code, r);
        else
            say_why(r, word);
    } else if (status != 200) {
        r->good = false;
        snprintf(r->why, sizeof(r->why), "status_%ld", status);
    } else
        body_read(t, r);
    if (!r->good) { /* figures reported by a sick robot do not count */
        r->sessions = r->capacity = -1;
        r->boot_id[0] = 0;
    }
}

static void gauges(struct prober *p)
{
    unsigned n[4] = {0};
    for (struct target *t = p->first; t; t = t->next)
        n[t->judgement.verdict]++;
    stat_set(robots_unknown, n[VERDICT_UNKNOWN]);
    stat_set(robots_up, n[VERDICT_UP]);
    stat_set(robots_suspect, n[VERDICT_SUSPECT]);
    stat_set(robots_down, n[VERDICT_DOWN]);
}

static void say(const char *event, const struct target *t, enum verdict before)
{
    log_line(t->judgement.verdict == VERDICT_UP ? LOG_INFO : LOG_WARN, event, "robot", t->name, "from",
             verdict_name[before], "to", verdict_name[t->judgement.verdict], "down", down_name[t->judgement.down],
             "why", t->last.why, "boot", t->last.boot_id, NULL);
}

/* Probes of a robot never overlap, so a boot id that returns belongs to a second process. Returns whether is_two
 * changed. */
static bool boots_judge(struct target *t, struct probe_result *r)
{
    uint64_t now = clock_ms();
    bool was_two = t->is_two;
    if (r->good && boots_see(&t->boots, r->boot_id, t->asked_ms, now) == BOOT_NEW)
        boots_take(&t->boots, r->boot_id, now);
    t->is_two = boots_are_two(&t->boots, now);
    if (r->good && t->is_two) /* the boot id known before is still published */
        strcpy(r->boot_id, t->boots.now);
    if (t->is_two != was_two)
        log_line(LOG_WARN, t->is_two ? "two_boots" : "one_boot", "robot", t->name, "boot", t->boots.now, "other",
                 t->boots.other, NULL);
    return t->is_two != was_two;
}

static void judged(struct target *t, struct probe_result *r)
{
    struct prober *p = t->prober;
    const struct conf *c = p->h->conf;
    enum verdict before = t->judgement.verdict;
    enum probe probe = r->good ? PROBE_GOOD : r->no_process ? PROBE_REFUSED : PROBE_SICK;
    bool changed =
        verdict_take(&t->judgement, probe, (unsigned)c->healthd_down_after, (unsigned)c->healthd_up_after);
    bool told = boots_judge(t, r) | changed, other_why = strcmp(r->why, t->last.why) != 0;
    stat_inc(probes_total);
    if (!r->good)
        stat_inc(probe_failures_total);
    if (r->good)
        told |= r->sessions != t->last.sessions || r->capacity != t->last.capacity ||
                strcmp(r->boot_id, t->last.boot_id) != 0;
    struct probe_result last = *r;
    if (!r->good) { /* a sick robot keeps the figures of its last good probe */
        last.sessions = t->last.sessions;
        last.capacity = t->last.capacity;
        strcpy(last.boot_id, t->last.boot_id);
    }
    t->last = last;
    if (changed) {
        if (before != t->judgement.verdict) /* dead or silent: down since the same moment */
            t->since_unix_ms = clock_unix_ms();
        say("went", t, before);
        gauges(p);
    } else if (!r->good && other_why) {
        say("still", t, before);
    }
    if (told || other_why)
        publish_change(p->h, t);
}

static void target_free(struct target *t)
{
    loop_timer_stop(t->prober->h->loop, &t->due);
    resolver_forget(&t->wait);
    if (t->is_busy)
        curl_multi_remove_handle(t->prober->multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->resolve);
    free(t->host);
    free(t->port);
    buf_free(&t->body);
    free(t);
}

static void probe_ended(struct target *t, struct probe_result *r)
{
    struct prober *p = t->prober;
    if (!r->good && t->host)
        resolver_doubt(p->resolver, t->host);
    judged(t, r);
    loop_timer_in(p->h->loop, &t->due, (uint64_t)p->h->conf->healthd_interval_ms);
}

static void reap(struct prober *p)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            struct target *t;
            struct probe_result r;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            curl_multi_remove_handle(p->multi, t->easy);
            t->is_busy = false;
            result_read(t, code, &r);
            probe_ended(t, &r);
        }
}

/* ---- the list ----------------------------------------------------------------------------------------------- */

/* Reads the host when it is a name. For an address both fields stay NULL. */
static void host_read(struct target *t)
{
    CURLU *parts = curl_url();
    CHECK(parts, "curl_url");
    curl_url_set(parts, CURLUPART_URL, t->base_url, 0); /* malformed: the probe fails with curl's own message */
    easy_named_host(parts, &t->host, &t->port);
    curl_url_cleanup(parts);
}

static void target_listed(void *arg, const struct robot_row *row)
{
    struct prober *p = arg;
    char name[65], base_url[256];
    str_copy(name, sizeof(name), row->name);
    str_copy(base_url, sizeof(base_url), row->base_url);
    if (row->wanted == WANTED_DISABLED)
        return;
    for (struct target *t = p->first; t; t = t->next)
        if (strcmp(t->name, name) == 0 && strcmp(t->base_url, base_url) == 0) {
            t->is_listed = true;
            return;
        }
    struct target *t = xcalloc(1, sizeof(*t));
    strcpy(t->name, name);
    strcpy(t->base_url, base_url);
    t->prober = p;
    t->is_listed = true;
    t->since_unix_ms = clock_unix_ms();
    t->last.sessions = t->last.capacity = -1;
    t->easy = curl_easy_init();
    CHECK(t->easy, "curl_easy_init");
    host_read(t);
    t->due.fn = probe_begin;
    t->due.arg = t;
    t->next = p->first;
    p->first = t;
    p->n++;
    uint64_t spread = (uint64_t)p->h->conf->healthd_interval_ms;
    loop_timer_in(p->h->loop, &t->due, p->n < 10 ? 0 : id_random_u64() % spread);
}

void prober_list(struct healthd *h, struct str rows)
{
    struct prober *p = h->prober;
    for (struct target *t = p->first; t; t = t->next)
        t->is_listed = false;
    proto_decode_robots(rows, target_listed, p);
    for (struct target **at = &p->first, *t; (t = *at);) {
        if (t->is_listed) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        p->n--;
        target_free(t);
    }
    gauges(p);
    publish_full(h);
}

void prober_each(struct healthd *h, void (*fn)(void *arg, const struct target *t), void *arg)
{
    for (struct target *t = h->prober->first; t; t = t->next)
        fn(arg, t);
}

unsigned prober_count(const struct healthd *h)
{
    return h->prober->n;
}

static void still_due(void *arg)
{
    struct prober *p = arg;
    for (struct target *t = p->first; t; t = t->next)
        if (t->judgement.verdict != VERDICT_UP)
            say("still", t, t->judgement.verdict);
    loop_timer_in(p->h->loop, &p->still, STILL_MS);
}

struct prober *prober_new(struct healthd *h)
{
    struct prober *p = h->prober = xcalloc(1, sizeof(*p));
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init");
    p->h = h;
    p->resolver = resolver_new(h->loop);
    p->multi = curl_multi_init();
    CHECK(p->multi, "curl_multi_init");
    p->timer.fn = timer_due;
    p->still.fn = still_due;
    p->timer.arg = p->still.arg = p;
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)HEALTH_ROBOTS_MAX);
    loop_timer_in(h->loop, &p->still, STILL_MS);
    return p;
}

void prober_destroy(struct prober **pp)
{
    struct prober *p = *pp;
    if (!p)
        return;
    for (struct target *t; (t = p->first);) {
        p->first = t->next;
        target_free(t);
    }
    loop_timer_stop(p->h->loop, &p->timer);
    loop_timer_stop(p->h->loop, &p->still);
    curl_multi_cleanup(p->multi);
    resolver_destroy(&p->resolver);
    curl_global_cleanup();
    free(p);
    *pp = NULL;
}
