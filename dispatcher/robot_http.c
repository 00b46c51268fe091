/*
 * robot_http.c - calls to robots: curl_multi on our loop.
 *
 * Owns: the multi handle with its kept connections, their sockets in the loop,
 * the calls under way and a pool of used ones, whose easy handles stay set up.
 * Must never follow a redirect, use a proxy, send Expect, decode a body, keep
 * more of one than the call allows, or send a POST twice: it gets a connection
 * of its own, since curl repeats a request whose kept connection was dead.
 * What a robot says unasked on a kept connection is never the next call's
 * answer (libcurl 7.88 would take it): such a connection is closed when the
 * bytes come, and each is looked at once more before a request goes out. An
 * answer that names another request by X-Request-Id is refused.
 * `done` is called from the loop, once, never inside call_start or call_stop.
 *
 * curl never resolves a name: its threaded resolver is joined by
 * curl_multi_remove_handle(), a wait of many seconds when a name server is
 * silent. Our resolver does it, and curl is given the addresses
 * (CURLOPT_RESOLVE) when they are new. CURLOPT_QUICK_EXIT stands by.
 *
 * Sockets stay in the epoll set while curl keeps their connection idle: a call
 * on a kept connection costs no epoll_ctl.
 */
#include "dispatcher/robot_http.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/curl_word.h"
#include "common/id.h"
#include "common/log.h"
#include "common/stat.h"
#include "common/names.h"
#include "common/resolver.h"
#include "dispatcher/networks.h"
#include "dispatcher/robot_head.h"
#include "dispatcher/robot_tls.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POOL_MAX 512
#define KEPT_CONNECTIONS 4096
#define HEADERS_MAX_BYTES 65536 /* of one answer, 1xx and trailers included */
#define STREAM_BUFFER_BYTES 131072
#define WATCH_STEP_MS 1000
#define BY_PORT 1024         /* buckets of connections by their local port */
#define CA_CACHE_S 60        /* a CA file that was replaced is read again after this */
#define FOREIGN_CACHE_S 60 /* addresses of hosts that are not robots' */

struct watch { /* of a socket, from its first use to its close */
    struct robot_http *http;
    struct loop_fd *handle; /* NULL = not in the loop */
    uint32_t events;
    int fd;
    bool is_kept; /* a connection's: told by socket_open and socket_close; curl's other descriptors are not */
    bool is_idle; /* curl does not ask for it now: no call has it, or one that is paused */
    struct robot_call *user;     /* the call that has it, NULL = none */
    bool was_used;               /* a call ended on it */
    uint16_t port, remote_port;  /* local port, 0 = not known yet */
    char remote[INET6_ADDRSTRLEN];
    struct watch *next;          /* of the same bucket */
};

struct robot_http {
    struct loop *loop;
    CURLM *multi;
    struct networks *networks;
    struct resolver *resolver;
    struct loop_timer timer;  /* curl's */
    struct loop_timer reaper; /* what ended inside call_resume */
    struct watch **watches;   /* by descriptor */
    int n_watches;
    struct watch *by_port[BY_PORT];
    const struct conf *conf;
    struct names by_url;      /* base URL -> index of its row */
    struct parsed {           /* base URLs, taken apart once */
        char *url;
        const char *path;     /* in url: what stands before every path, mostly "" */
        CURLU *parts;         /* NULL = curl could not read it */
        char *host, *port;    /* NULL = needs no look-up */
        uint64_t loaded;      /* generation of the addresses that curl has; 0 = none */
    } *parsed;
    uint32_t n_parsed;
    struct robot_call *first; /* under way */
    struct robot_call *pool;  /* by next */
    unsigned n_pool, n_running;
    call_watch_fn *watch; /* NULL = nobody */
    void *watch_arg;
};

struct robot_call {
    struct robot_http *http;
    CURL *easy; /* as long as this struct; options that never change point in here */
    char error[CURL_ERROR_SIZE];
    struct robot_call *next, **link;
    /* from here on cleared for each call */
    struct call_spec spec; /* its strings are gone after call_start */
    struct curl_slist *headers, *resolve;
    struct resolver_wait wait; /* for the robot's address */
    uint32_t parsed_at;        /* the base URL's row, of a robot's */
    char *host, *port;         /* of a foreign one; NULL = needs no look-up */
    uint64_t gave;             /* generation of the addresses that curl is given with this call; 0 = none */
    bool is_added;             /* to the multi handle: curl knows something of this call */
    char *body;
    size_t body_len;
    struct buf in;
    struct call_answer answer;
    struct head head;
    char request_id[129];
    struct loop_timer limit; /* first byte and idle limits */
    uint64_t started_ms, moved_ms; /* moved: to within a WATCH_STEP_MS */
    size_t header_bytes;
    bool is_foreign;   /* not a robot's: call_spec.url */
    bool is_special;   /* the easy handle holds more than a plain GET: reset it before it is used again */
    bool has_status;   /* a status line came */
    bool has_body;     /* and a byte of the body */
    bool has_moved;    /* something came since limit_due() looked */
    bool is_streaming; /* on_data gets the body */
    bool is_paused, is_too_big;
    struct watch *watch; /* of its connection, NULL = not known */
    bool is_stale;     /* something came on the kept connection before the request went out */
    bool is_foreign_answer; /* it names another request */
    bool is_in_callback, is_stopped; /* call_stop() from on_head or on_data */
};

/* ---- sockets ----------------------------------------------------------------------------------------------- */

static void reap(struct robot_http *h);

/* Bytes that came unasked are taken off a connection, and it is shut: curl looks with MSG_PEEK whether it may use one. */
static void stray_drop(struct watch *w)
{
    char bytes[16384];
    bool is_stray = false;
    for (unsigned i = 0; i < 64 && recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
        is_stray = true;
    if (!is_stray)
        return;
    stat_inc(robot_stray_answers_total);
    log_line(LOG_WARN, "robot_stray_bytes", "address", w->remote, "port", log_i(w->remote_port), "what", "the connection is closed", NULL);
    shutdown(w->fd, SHUT_RDWR);
}

static void socket_ready(void *arg, uint32_t events)
{
    struct watch *w = arg;
    struct robot_http *h = w->http;
    int running, what = 0;
    if (w->is_idle) { /* the robot closed a kept connection, or speaks unasked: curl finds it closed when it wants to use it */
        if (!w->user)
            stray_drop(w);
        loop_fd_remove(h->loop, &w->handle);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(h->multi, w->fd, what, &running);
    reap(h);
}

static struct watch *watch_of(struct robot_http *h, int fd)
{
    if (fd >= h->n_watches) {
        int n = fd + 64;
        h->watches = xrealloc(h->watches, (size_t)n * sizeof(struct watch *));
        memset(h->watches + h->n_watches, 0, (size_t)(n - h->n_watches) * sizeof(struct watch *));
        h->n_watches = n;
    }
    if (!h->watches[fd]) {
        h->watches[fd] = xcalloc(1, sizeof(struct watch));
        *h->watches[fd] = (struct watch){.http = h, .fd = fd, .is_idle = true};
    }
    return h->watches[fd];
}

static void watch_use(struct watch *w, struct robot_call *c)
{
    if (c->watch && c->watch != w && c->watch->user == c)
        c->watch->user = NULL;
    if (w->user && w->user != c)
        w->user->watch = NULL;
    w->user = c;
    c->watch = w;
}

/* The call has its connection no more. */
static void watch_free_of(struct robot_call *c)
{
    if (!c || !c->watch)
        return;
    c->watch->user = NULL;
    c->watch->was_used = true;
    c->watch = NULL;
}

static void watch_drop(struct robot_http *h, int fd)
{
    if (fd >= h->n_watches || !h->watches[fd])
        return;
    struct watch *w = h->watches[fd];
    watch_free_of(w->user);
    loop_fd_remove(h->loop, &w->handle);
    for (struct watch **at = w->port ? &h->by_port[w->port % BY_PORT] : NULL; at && *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    free(w);
    h->watches[fd] = NULL;
}

static void address_note(struct watch *w, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    bool is_v4 = address->sa_family == AF_INET;
    if (!inet_ntop(address->sa_family, is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, w->remote, sizeof(w->remote)))
        w->remote[0] = 0;
    w->remote_port = ntohs(is_v4 ? v4->sin_port : v6->sin6_port);
}

static uint16_t local_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET ? ((struct sockaddr_in *)&at)->sin_port : ((struct sockaddr_in6 *)&at)->sin6_port);
}

/* The connection that curl is about to use; a new one is noted under its port. NULL = not found. */
static struct watch *watch_by_port(struct robot_http *h, uint16_t port, const char *remote, uint16_t remote_port)
{
    for (struct watch *w = h->by_port[port % BY_PORT]; w; w = w->next)
        if (w->port == port && w->remote_port == remote_port && strcmp(w->remote, remote) == 0)
            return w;
    for (int fd = 0; fd < h->n_watches; fd++) {
        struct watch *w = h->watches[fd];
        if (!w || !w->is_kept || w->port || local_port(fd) != port || w->remote_port != remote_port)
            continue;
        w->port = port;
        w->next = h->by_port[port % BY_PORT];
        h->by_port[port % BY_PORT] = w;
        return w;
    }
    return NULL;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    struct robot_http *h = user;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    struct watch *w = watch_of(h, fd);
    struct robot_call *c = NULL;
    (void)socket_user;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&c);
    if (c && w->is_kept && what != CURL_POLL_REMOVE)
        watch_use(w, c);
    if (what == CURL_POLL_REMOVE && !w->is_kept) {
        watch_drop(h, fd);
        return 0;
    }
    if (what == CURL_POLL_REMOVE) {
        w->is_idle = true;
        if (w->handle && w->events != EPOLLIN)
            loop_fd_remove(h->loop, &w->handle);
        return 0;
    }
    w->is_idle = false;
    if (!w->handle)
        w->handle = loop_fd_add(h->loop, fd, events, socket_ready, w);
    else if (w->events != events)
        loop_fd_change(h->loop, w->handle, events);
    w->events = events;
    return 0;
}

static curl_socket_t socket_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct robot_http *h = user;
    if (purpose != CURLSOCKTYPE_IPCXN || !networks_hold(h->networks, &address->addr)) {
        log_line(LOG_WARN, "robot_address_refused", "why", "not in robot.allow_addresses", NULL);
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    watch_of(h, fd)->is_kept = true;
    address_note(watch_of(h, fd), &address->addr);
    return fd;
}

/* For calls that are not robots': their own door decides where they go. */
static curl_socket_t socket_open_any(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    int fd = purpose == CURLSOCKTYPE_IPCXN ? socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol) : -1;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    watch_of(user, fd)->is_kept = true;
    address_note(watch_of(user, fd), &address->addr);
    return fd;
}

/* Just before a request goes out, on whatever connection curl chose: has somebody spoken on it already? */
static int before_request(void *arg, char *remote, char *local, int remote_port, int port)
{
    struct robot_call *c = arg;
    struct watch *w = watch_by_port(c->http, (uint16_t)port, remote, (uint16_t)remote_port);
    struct curl_tlssessioninfo *tls = NULL;
    char byte;
    (void)local;
    if (!w)
        return CURL_PREREQFUNC_OK;
    bool was_used = w->was_used;
    watch_use(w, c);
    if (!was_used)
        return CURL_PREREQFUNC_OK;
    bool is_quiet = recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (is_quiet && curl_easy_getinfo(c->easy, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls && tls->backend == CURLSSLBACKEND_OPENSSL &&
        tls->internals)
        is_quiet = !tls_has_bytes(tls->internals);
    if (is_quiet)
        return CURL_PREREQFUNC_OK;
    stat_inc(robot_stray_answers_total);
    log_line(LOG_WARN, "robot_stray_bytes", "address", w->remote, "port", log_i(w->remote_port), "what", "another connection is used", NULL);
    c->is_stale = true;
    return CURL_PREREQFUNC_ABORT; /* which closes it */
}

static int socket_close(void *user, curl_socket_t fd)
{
    watch_drop(user, fd);
    return close(fd);
}

/* ---- time -------------------------------------------------------------------------------------------------- */

static void timer_due(void *arg)
{
    struct robot_http *h = arg;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(h);
}

static int on_timer(CURLM *multi, long in_ms, void *user)
{
    struct robot_http *h = user;
    (void)multi;
    if (in_ms < 0)
        loop_timer_stop(h->loop, &h->timer);
    else
        loop_timer_in(h->loop, &h->timer, (uint64_t)in_ms);
    return 0;
}

/* ---- an answer comes ------------------------------------------------------------------------------------------ */

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    c->has_moved = true;
    c->header_bytes += len;
    if (c->header_bytes > HEADERS_MAX_BYTES)
        return 0;
    if (c->has_body) /* trailers say nothing of ours */
        return len;
    c->has_status |= head_line(&c->head, &c->answer, line, len);
    if (line[0] != '\r' && line[0] != '\n')
        return len;
    c->is_foreign_answer = c->head.is_final && c->answer.echo == ECHO_OTHER && !c->is_foreign;
    stat_add(robot_other_answers_total, c->is_foreign_answer);
    return c->is_foreign_answer ? 0 : len;
}

static void head_read(struct robot_call *c)
{
    if (c->spec.is_decoded)
        c->answer.content_encoding[0] = 0;
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    c->answer.status = (int)status;
    c->answer.length = length;
}

/* The first byte of a body: whom it is for. */
static void body_begins(struct robot_call *c)
{
    head_read(c);
    c->has_body = true;
    if (c->spec.on_head && c->answer.status == 200) {
        c->is_in_callback = true;
        c->is_streaming = c->spec.on_head(c->spec.arg, &c->answer);
        c->is_in_callback = false;
    }
    if (!c->is_streaming && c->answer.length > 0 && (uint64_t)c->answer.length <= c->spec.max_bytes)
        buf_room(&c->in, (size_t)c->answer.length);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    c->has_moved = true;
    if (!c->has_body)
        body_begins(c);
    if (c->is_streaming) {
        if (c->is_paused)
            return CURL_WRITEFUNC_PAUSE; /* these bytes come again */
        if (!c->is_stopped) {
            c->is_in_callback = true;
            c->is_paused = !c->spec.on_data(c->spec.arg, data, len);
            c->is_in_callback = false;
        }
        return c->is_stopped ? 0 : len;
    }
    if (c->in.len + len > c->spec.max_bytes ||
        (c->answer.length > 0 && (uint64_t)c->answer.length > c->spec.max_bytes)) {
        c->is_too_big = true;
        return 0;
    }
    buf_add(&c->in, data, len);
    return c->is_stopped ? 0 : len;
}

/* ---- a call ------------------------------------------------------------------------------------------------------ */

void url_encode(struct buf *b, const char *s)
{
    for (; *s; s++) {
        size_t plain = 0;
        while (isalnum((unsigned char)s[plain]) || (s[plain] && strchr("-._~", s[plain])))
            plain++;
        buf_add(b, s, plain);
        s += plain;
        if (!*s)
            return;
        buf_addf(b, "%%%02X", (unsigned char)*s);
    }
}

/* What every call has, set once for an easy handle. */
static void easy_prepare(struct robot_call *c)
{
    CURL *e = c->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, socket_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c->http);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, socket_close);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, c->http);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "chasqui");
    /* Our resolver knows when an address is old. And after each call curl would walk all of its cache, which with a thousand robots
     * is most of what a call costs. */
    curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, c);
}

/* Whom we believe and who we are, with robots; others' certificates are the system's matter. */
static void tls_prepare(struct robot_call *c)
{
    const struct conf *conf = c->http->conf;
    if (conf->robot_ca_file) { /* instead of the system's CAs */
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, conf->robot_ca_file);
        curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(c->easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S);
    }
    if (conf->robot_cert_file)
        curl_easy_setopt(c->easy, CURLOPT_SSLCERT, conf->robot_cert_file);
    if (conf->robot_key_file)
        curl_easy_setopt(c->easy, CURLOPT_SSLKEY, conf->robot_key_file);
}

static struct robot_call *call_get(struct robot_http *h)
{
    struct robot_call *c = h->pool;
    if (c) {
        h->pool = c->next;
        h->n_pool--;
    } else {
        c = xcalloc(1, sizeof(*c));
        c->http = h;
        c->easy = curl_easy_init();
        CHECK(c->easy, "curl_easy_init");
        easy_prepare(c);
        tls_prepare(c);
    }
    size_t kept = offsetof(struct robot_call, spec);
    memset((char *)c + kept, 0, sizeof(*c) - kept);
    c->error[0] = 0;
    return c;
}

static void call_free(struct robot_call *c)
{
    struct robot_http *h = c->http;
    loop_timer_stop(h->loop, &c->limit);
    watch_free_of(c);
    resolver_forget(&c->wait);
    if ((*c->link = c->next))
        c->next->link = c->link;
    h->n_running--;
    curl_slist_free_all(c->headers);
    if (c->resolve)
        curl_easy_setopt(c->easy, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(c->resolve);
    free(c->host);
    free(c->port);
    if (c->body) {
        explicit_bzero(c->body, c->body_len);
        free(c->body);
    }
    buf_free(&c->in);
    buf_free(&c->head.held);
    if (h->n_pool >= POOL_MAX) {
        curl_easy_cleanup(c->easy);
        free(c);
        return;
    }
    if (c->is_special) {
        curl_easy_reset(c->easy);
        easy_prepare(c);
        tls_prepare(c);
    }
    c->next = h->pool;
    h->pool = c;
    h->n_pool++;
}

static void header_add(struct robot_call *c, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    struct buf line = {0};
    buf_addf(&line, "%s: %s", name, value);
    c->headers = curl_slist_append(c->headers, line.data);
    buf_free(&line);
}

static char *part_of(CURLU *parts, CURLUPart what, unsigned flags)
{
    char *text = NULL, *copy;
    if (!parts || curl_url_get(parts, what, &text, flags) != CURLUE_OK)
        return NULL;
    copy = xstrdup(text);
    curl_free(text);
    return copy;
}

/* Host and port of a URL whose host is a name; else NULL. */
static void named_host(CURLU *parts, char **host, char **port)
{
    *host = part_of(parts, CURLUPART_HOST, 0);
    *port = *host && !resolver_is_needless(*host) ? part_of(parts, CURLUPART_PORT, CURLU_DEFAULT_PORT) : NULL;
    if (!*port) {
        free(*host);
        *host = NULL;
    }
}

/* Base URLs are few and come again and again: the row of one. */
static uint32_t url_parse(struct robot_http *h, const char *base_url)
{
    uint32_t at = names_find(&h->by_url, base_url);
    if (at != NAMES_NONE)
        return at;
    CURLU *parts = curl_url();
    char *url = xstrdup(base_url), *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    CHECK(parts, "curl_url");
    if (curl_url_set(parts, CURLUPART_URL, base_url, 0) != CURLUE_OK) {
        curl_url_cleanup(parts);
        parts = NULL;
    }
    at = h->n_parsed++;
    h->parsed = xrealloc(h->parsed, h->n_parsed * sizeof(*h->parsed));
    h->parsed[at] = (struct parsed){.url = url, .path = path ? path : "", .parts = parts};
    named_host(parts, &h->parsed[at].host, &h->parsed[at].port);
    names_add(&h->by_url, url, at);
    return at;
}

static void url_set(struct robot_call *c, const char *base_url, const char *path)
{
    c->parsed_at = url_parse(c->http, base_url);
    const struct parsed *base = &c->http->parsed[c->parsed_at];
    struct buf target = {0};
    curl_easy_setopt(c->easy, CURLOPT_CURLU, base->parts);
    if (!base->parts)
        curl_easy_setopt(c->easy, CURLOPT_URL, base_url); /* it fails with curl's own words */
    if (*base->path) {
        buf_adds(&target, base->path);
        buf_adds(&target, path);
        path = target.data;
    }
    curl_easy_setopt(c->easy, CURLOPT_REQUEST_TARGET, path);
    buf_free(&target);
}

static void target_set(struct robot_call *c, const struct call_spec *spec)
{
    if (!spec->url) {
        url_set(c, spec->base_url, spec->path);
        return;
    }
    c->is_foreign = c->is_special = true;
    curl_easy_reset(c->easy); /* of the parsed URL and target of the call before */
    easy_prepare(c);
    curl_easy_setopt(c->easy, CURLOPT_URL, spec->url);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, socket_open_any);
    curl_easy_setopt(c->easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)FOREIGN_CACHE_S);
    CURLU *parts = curl_url();
    CHECK(parts, "curl_url");
    curl_url_set(parts, CURLUPART_URL, spec->url, 0); /* wrong: it fails with curl's own words */
    named_host(parts, &c->host, &c->port);
    curl_url_cleanup(parts);
}

static void method_set(struct robot_call *c, const struct call_spec *spec)
{
    CURL *e = c->easy;
    if (spec->is_fresh) {
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    }
    if (strcmp(spec->method, "GET") == 0)
        return;
    c->is_special = true;
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    if (strcmp(spec->method, "POST") != 0) {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, spec->method);
        return;
    }
    c->body_len = spec->body_len;
    c->body = xmalloc(spec->body_len + 1);
    memcpy(c->body, spec->body ? spec->body : "", spec->body_len);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)spec->body_len);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body);
    header_add(c, "Content-Type", "application/json");
    c->headers = curl_slist_append(c->headers, "Expect:");
}

static void call_end(struct robot_call *c, enum call_result result);
static bool is_sent(const struct robot_call *c);

/* The limits that curl does not know: until the first byte, and between bytes; a paused call waits for us. */
static void limit_due(void *arg)
{
    struct robot_call *c = arg;
    uint64_t now = clock_ms();
    if (c->is_paused || c->has_moved)
        c->moved_ms = now;
    c->has_moved = false;
    int64_t limit = c->has_body ? c->spec.idle_ms : c->spec.first_byte_ms;
    uint64_t since = c->has_body ? c->moved_ms : c->started_ms;
    if (limit && now >= since + (uint64_t)limit) {
        curl_multi_remove_handle(c->http->multi, c->easy);
        c->answer.why = "timeout";
        call_end(c, is_sent(c) ? CALL_TIMEOUT : CALL_NOT_SENT);
        return;
    }
    uint64_t left = limit ? since + (uint64_t)limit - now : WATCH_STEP_MS;
    loop_timer_in(c->http->loop, &c->limit, left < WATCH_STEP_MS ? left : WATCH_STEP_MS);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static void call_go(struct robot_call *c)
{
    CURLMcode rc = curl_multi_add_handle(c->http->multi, c->easy);
    CHECK(rc == CURLM_OK, "curl_multi_add_handle=%d", (int)rc);
    c->is_added = true;
}

/* Gives curl the addresses; is_kept: for as long as the process lives, or until others are given. */
static void addresses_give(struct robot_call *c, const char *host, const char *port, const char *addresses, bool is_kept)
{
    struct buf line = {0};
    buf_addf(&line, "%s%s:%s:%s", is_kept ? "" : "+", host, port, addresses);
    c->resolve = curl_slist_append(c->resolve, line.data);
    curl_easy_setopt(c->easy, CURLOPT_RESOLVE, c->resolve);
    buf_free(&line);
}

static long left_of(int64_t limit_ms, int64_t waited_ms)
{
    return !limit_ms ? 0 : limit_ms > waited_ms ? (long)(limit_ms - waited_ms) : 1;
}

/* NULL: the host is an address. */
static const char *host_of(const struct robot_call *c)
{
    return c->is_foreign ? c->host : c->http->parsed[c->parsed_at].host;
}

static void addresses_take(struct robot_call *c, const struct resolved *known)
{
    const struct parsed *base = &c->http->parsed[c->parsed_at];
    if (c->is_foreign)
        addresses_give(c, c->host, c->port, known->addresses, false);
    else if (known->generation != base->loaded) {
        addresses_give(c, base->host, base->port, known->addresses, true);
        c->gave = known->generation;
    }
}

static void name_came(void *arg, const struct resolved *found, const char *why)
{
    struct robot_call *c = arg;
    int64_t waited_ms = (int64_t)(clock_ms() - c->started_ms);
    if (!found) {
        snprintf(c->error, sizeof(c->error), "Could not resolve the name: %s", why);
        call_end(c, CALL_NOT_SENT);
        return;
    }
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, left_of(c->spec.connect_ms, waited_ms));
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, left_of(c->spec.total_ms, waited_ms));
    addresses_take(c, found);
    call_go(c);
}

static void name_then_go(struct robot_call *c)
{
    const char *host = host_of(c);
    const struct resolved *known = host ? resolver_look(c->http->resolver, host) : NULL;
    if (known)
        addresses_take(c, known);
    if (known || !host) {
        call_go(c);
        return;
    }
    c->wait = (struct resolver_wait){.fn = name_came, .arg = c};
    resolver_wait(c->http->resolver, host, (uint64_t)(c->spec.connect_ms ? c->spec.connect_ms : WATCH_STEP_MS), &c->wait);
}

struct robot_call *call_start(struct robot_http *h, const struct call_spec *spec)
{
    struct robot_call *c = call_get(h);
    CURL *e = c->easy;
    c->spec = *spec;
    c->started_ms = c->moved_ms = clock_ms();
    c->answer.length = -1;
    c->answer.why = "";
    target_set(c, spec);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->connect_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->total_ms);
    if (spec->on_data) {
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)(spec->stream_bytes && spec->stream_bytes < STREAM_BUFFER_BYTES ? spec->stream_bytes : STREAM_BUFFER_BYTES));
    }
    method_set(c, spec);
    if (spec->is_decoded) { /* nothing is asked for, what comes all the same is undone */
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity");
        c->headers = curl_slist_append(c->headers, "Accept-Encoding:");
    }
    if (spec->request_id && *spec->request_id)
        snprintf(c->request_id, sizeof(c->request_id), "%s", spec->request_id);
    else if (!c->is_foreign)
        id_request(c->request_id);
    c->head.request_id = c->request_id;
    header_add(c, "Idempotency-Key", spec->idempotency_key);
    header_add(c, "X-Request-Id", c->request_id);
    header_add(c, "traceparent", spec->traceparent);
    for (unsigned i = 0; spec->headers && spec->headers[i]; i++)
        c->headers = curl_slist_append(c->headers, spec->headers[i]);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    c->spec.method = c->spec.base_url = c->spec.path = c->spec.body = NULL;
    c->spec.idempotency_key = c->spec.request_id = c->spec.traceparent = c->spec.url = NULL;
    c->spec.headers = NULL;
    if ((c->next = h->first))
        c->next->link = &c->next;
    c->link = &h->first;
    h->first = c;
    h->n_running++;
    if (spec->first_byte_ms || spec->idle_ms) {
        c->limit.fn = limit_due;
        c->limit.arg = c;
        bool is_short = spec->first_byte_ms && spec->first_byte_ms < WATCH_STEP_MS;
        loop_timer_in(h->loop, &c->limit, is_short ? (uint64_t)spec->first_byte_ms : WATCH_STEP_MS);
    }
    name_then_go(c);
    return c;
}

void call_resume(struct robot_call *c)
{
    if (!c->is_paused)
        return;
    c->is_paused = false;
    c->moved_ms = clock_ms();
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    /* It may have ended just now, or hold bytes that its socket will not tell of. */
    loop_timer_in(c->http->loop, &c->http->reaper, 0);
}

/* Nobody waits for it any more: what came of it until now is known all the same. */
static void stopped_tell(struct robot_call *c)
{
    if (c->is_foreign || !c->http->watch)
        return;
    head_read(c);
    c->answer.result = CALL_STOPPED;
    c->answer.body = &c->in;
    c->answer.is_work = c->spec.is_work || c->spec.is_login;
    c->answer.took_ms = (int64_t)(clock_ms() - c->started_ms);
    c->http->watch(c->http->watch_arg, c->spec.robot_id, c->spec.is_login, &c->answer);
}

void call_stop(struct robot_call *c)
{
    if (c->is_in_callback) { /* curl must not lose a handle inside its callback: the reaper frees it */
        c->is_stopped = true;
        return;
    }
    curl_multi_remove_handle(c->http->multi, c->easy);
    stopped_tell(c);
    call_free(c);
}

void calls_overdue(const struct robot_http *h, uint64_t ms, void (*fn)(void *arg, uint32_t robot_id), void *arg)
{
    uint64_t now = clock_ms();
    for (const struct robot_call *c = h->first; c; c = c->next)
        if (c->spec.is_work && c->spec.robot_id && !c->has_status && now >= c->started_ms + ms)
            fn(arg, c->spec.robot_id);
}

unsigned calls_running(const struct robot_http *h)
{
    return h->n_running;
}

/* ---- the end of a call --------------------------------------------------------------------------------------- */

/* Did the robot get a byte of the request? */
static bool is_sent(const struct robot_call *c)
{
    curl_off_t body = 0;
    long head = 0;
    if (!c->is_added) /* the handle still tells of the call before */
        return false;
    curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &head);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &body);
    return head > 0 || body > 0;
}

static enum call_result result_of(struct robot_call *c, CURLcode code)
{
    if (code == CURLE_OK)
        return CALL_ANSWERED;
    if (c->is_too_big)
        return CALL_TOO_BIG;
    if (!is_sent(c))
        return CALL_NOT_SENT;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return CALL_TIMEOUT;
    if (curl_word_is_tls_refusal(c->answer.why)) /* the robot's program saw nothing of it */
        return CALL_NOT_SENT;
    /* Reset before a word was said is unreachable; whatever came and was no whole answer is garbage. */
    c->answer.garbage = c->has_status || (code != CURLE_GOT_NOTHING && code != CURLE_RECV_ERROR &&
                                          code != CURLE_SEND_ERROR && code != CURLE_COULDNT_CONNECT &&
                                          code != CURLE_COULDNT_RESOLVE_HOST);
    return CALL_BROKEN;
}

static void result_count(enum call_result result)
{
    stat_inc(robot_calls_total);
    switch (result) {
    case CALL_ANSWERED:
    case CALL_STOPPED:
        return;
    case CALL_NOT_SENT:
        stat_inc(robot_calls_unreachable_total);
        break;
    case CALL_TIMEOUT:
        stat_inc(robot_calls_timeout_total);
        break;
    case CALL_BROKEN:
    case CALL_TOO_BIG:
        stat_inc(robot_calls_broken_total);
        break;
    }
    stat_inc(robot_calls_failed_total);
}

/* What was learnt about the robot's address. */
static void name_learn(struct robot_call *c, enum call_result result)
{
    const char *host = host_of(c);
    if (c->gave)
        c->http->parsed[c->parsed_at].loaded = c->gave;
    if (host && result == CALL_NOT_SENT)
        resolver_doubt(c->http->resolver, host);
}

/* The handle is out of the multi already. */
static void call_end(struct robot_call *c, enum call_result result)
{
    name_learn(c, result);
    if (!c->is_stopped) {
        if (c->is_added)
            head_read(c);
        c->answer.result = result;
        c->answer.body = &c->in;
        c->answer.is_work = c->spec.is_work || c->spec.is_login;
        c->answer.took_ms = (int64_t)(clock_ms() - c->started_ms);
        c->answer.curl_text = c->error;
        if (!c->is_foreign)
            result_count(result);
        if (!c->is_foreign && c->http->watch)
            c->http->watch(c->http->watch_arg, c->spec.robot_id, c->spec.is_login, &c->answer);
        c->spec.done(c->spec.arg, &c->answer);
    }
    call_free(c);
}

/* Nothing was sent: the same call on a connection of its own. */
static void call_again(struct robot_call *c)
{
    c->is_stale = false;
    c->is_special = true;
    watch_free_of(c);
    c->error[0] = 0;
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
    CURLMcode rc = curl_multi_add_handle(c->http->multi, c->easy);
    CHECK(rc == CURLM_OK, "curl_multi_add_handle=%d", (int)rc);
}

static void why_note(struct robot_call *c, CURLcode code)
{
    long verify = 0;
    curl_easy_getinfo(c->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    c->answer.why = c->is_foreign_answer ? "other_request_id" : c->is_too_big ? "too_big" : curl_word((int)code, verify, c->error, c->has_status);
    if (c->is_foreign_answer)
        snprintf(c->error, sizeof(c->error), "the answer's X-Request-Id is another request's");
}

static void reap(struct robot_http *h)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct robot_call *c = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        curl_multi_remove_handle(h->multi, c->easy);
        if (c->is_stale) {
            call_again(c);
            continue;
        }
        why_note(c, code);
        call_end(c, result_of(c, code));
    }
}

/* ---- start and stop ---------------------------------------------------------------------------------------- */

struct robot_http *robot_http_new(struct loop *l, const struct conf *conf)
{
    struct robot_http *h = xcalloc(1, sizeof(*h));
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init");
    h->loop = l;
    h->conf = conf;
    h->networks = networks_new(conf->robot_allow_addresses);
    h->resolver = resolver_new(l);
    h->multi = curl_multi_init();
    CHECK(h->multi, "curl_multi_init");
    h->timer.fn = h->reaper.fn = timer_due;
    h->timer.arg = h->reaper.arg = h;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return h;
}

void robot_http_watch(struct robot_http *h, call_watch_fn *fn, void *arg)
{
    h->watch = fn;
    h->watch_arg = arg;
}

void robot_http_destroy(struct robot_http **hp)
{
    struct robot_http *h = *hp;
    if (!h)
        return;
    while (h->first)
        call_stop(h->first);
    while (h->pool) {
        struct robot_call *c = h->pool;
        h->pool = c->next;
        curl_easy_cleanup(c->easy);
        free(c);
    }
    curl_multi_cleanup(h->multi); /* closes the kept connections */
    for (uint32_t i = 0; i < h->n_parsed; i++) {
        curl_url_cleanup(h->parsed[i].parts);
        free(h->parsed[i].host);
        free(h->parsed[i].port);
        free(h->parsed[i].url);
    }
    free(h->parsed);
    names_clear(&h->by_url);
    loop_timer_stop(h->loop, &h->timer);
    loop_timer_stop(h->loop, &h->reaper);
    free(h->watches);
    networks_destroy(&h->networks);
    resolver_destroy(&h->resolver);
    curl_global_cleanup();
    free(h);
    *hp = NULL;
}
