/*
 * robot_http.c - calls to robots: curl_multi on our loop.
 *
 * Owns: the multi handle, its sockets in the loop, the calls under way and a
 * pool of easy handles. Must never follow a redirect, use a proxy, send
 * Expect, decode a body, or keep more of one than the call allows. `done` is
 * called from the loop (never inside call_start or call_stop), once.
 */
#include "dispatcher/robot_http.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/stat.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_HANDLES_MAX 512
#define NETWORKS_MAX 64

struct network { /* an address range robots may resolve to */
    int family;
    uint8_t bytes[16];
    unsigned bits;
};

struct robot_http {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    struct robot_call *first; /* under way */
    CURL *idle[IDLE_HANDLES_MAX];
    unsigned n_idle, n_running;
    struct network networks[NETWORKS_MAX];
    unsigned n_networks;
};

struct robot_call {
    struct robot_http *http;
    CURL *easy;
    struct call_spec spec;
    struct curl_slist *headers;
    char *url, *body;
    size_t body_len;
    struct buf in;
    struct call_answer answer;
    struct robot_call *next, **link;
    struct loop_timer watch; /* first byte and idle limits */
    uint64_t started_ms, moved_ms;
    bool head_told, streaming, paused, too_big, timed_out, stopped_by_us;
    char error[CURL_ERROR_SIZE];
};

/* ---- sockets and time ------------------------------------------------------------------------------------------------ */

struct watch {
    struct robot_http *http;
    struct loop_fd *handle;
    int fd;
};

static void reap(struct robot_http *h);

static void socket_ready(void *arg, uint32_t events)
{
    struct watch *w = arg;
    struct robot_http *h = w->http;
    int running, what = 0;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(h->multi, w->fd, what, &running);
    reap(h);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    struct robot_http *h = user;
    struct watch *w = socket_user;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            loop_fd_remove(h->loop, &w->handle);
            curl_multi_assign(h->multi, fd, NULL);
            free(w);
        }
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (!w) {
        w = xcalloc(1, sizeof(*w));
        w->http = h;
        w->fd = fd;
        w->handle = loop_fd_add(h->loop, fd, events, socket_ready, w);
        curl_multi_assign(h->multi, fd, w);
    } else {
        loop_fd_change(h->loop, w->handle, events);
    }
    return 0;
}

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

/* ---- addresses ------------------------------------------------------------------------------------------------------- */

static void networks_read(struct robot_http *h, const char *list)
{
    unsigned n;
    char **items = conf_list(list ? list : "", &n);
    for (unsigned i = 0; i < n && h->n_networks < NETWORKS_MAX; i++) {
        struct network *net = &h->networks[h->n_networks];
        char *slash = strchr(items[i], '/');
        if (slash)
            *slash = 0;
        net->family = strchr(items[i], ':') ? AF_INET6 : AF_INET;
        unsigned most = net->family == AF_INET ? 32 : 128;
        net->bits = slash ? (unsigned)strtoul(slash + 1, NULL, 10) : most;
        if (inet_pton(net->family, items[i], net->bytes) == 1 && net->bits <= most)
            h->n_networks++;
        else
            log_line(LOG_ERROR, "network_ignored", "key", "robot.allow_addresses", "value", items[i], NULL);
    }
    free(items);
}

static bool address_allowed(const struct robot_http *h, const struct sockaddr *a)
{
    if (!h->n_networks)
        return true;
    const uint8_t *bytes = a->sa_family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
                                                   : (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    for (unsigned i = 0; i < h->n_networks; i++) {
        const struct network *net = &h->networks[i];
        unsigned whole = net->bits / 8, rest = net->bits % 8;
        if (net->family == a->sa_family && memcmp(bytes, net->bytes, whole) == 0 &&
            (!rest || ((bytes[whole] ^ net->bytes[whole]) & (0xff00 >> rest) & 0xff) == 0))
            return true;
    }
    return false;
}

static curl_socket_t open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct robot_http *h = user;
    if (purpose != CURLSOCKTYPE_IPCXN || !address_allowed(h, &address->addr)) {
        log_line(LOG_WARN, "robot_address_refused", "why", "not in robot.allow_addresses", NULL);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- a call ---------------------------------------------------------------------------------------------------------- */

void url_encode(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (isalnum(c) || strchr("-._~", c))
            buf_add(b, s, 1);
        else
            buf_addf(b, "%%%02X", c);
    }
}

/* filename*=UTF-8''percent-encoded, else filename="..." or filename=token (RFC 6266). */
static void disposition_name(const char *value, char *out, size_t room)
{
    const char *at = strcasestr(value, "filename*=utf-8''");
    size_t n = 0;
    if (at) {
        for (at += 17; *at && *at != ';' && *at != ' ' && n + 1 < room; at++) {
            unsigned byte;
            if (*at == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
                sscanf(at + 1, "%2x", &byte);
                at += 2;
                out[n++] = (char)byte;
            } else {
                out[n++] = *at;
            }
        }
    } else if ((at = strcasestr(value, "filename="))) {
        at += 9;
        bool quoted = *at == '"';
        for (at += quoted; *at && *at != (quoted ? '"' : ';') && n + 1 < room; at++) {
            if (quoted && *at == '\\' && at[1])
                at++;
            out[n++] = *at;
        }
    }
    out[n] = 0;
}

static bool header_is(const char *line, size_t len, const char *name, char *value, size_t room)
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    line += n + 1;
    len -= n + 1;
    while (len && (*line == ' ' || *line == '\t'))
        line++, len--;
    while (len && strchr("\r\n \t", line[len - 1]))
        len--;
    if (len >= room)
        len = room - 1;
    memcpy(value, line, len);
    value[len] = 0;
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    char value[600];
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) { /* the final answer of several (100 Continue) counts */
        c->answer.content_type[0] = c->answer.disposition_name[0] = 0;
    } else if (header_is(line, len, "Content-Type", value, sizeof(value))) {
        snprintf(c->answer.content_type, sizeof(c->answer.content_type), "%.200s", value);
    } else if (header_is(line, len, "X-Robot-Boot", value, sizeof(value))) {
        snprintf(c->answer.boot_id, sizeof(c->answer.boot_id), "%.64s", value);
    } else if (header_is(line, len, "Content-Disposition", value, sizeof(value))) {
        disposition_name(value, c->answer.disposition_name, sizeof(c->answer.disposition_name));
    }
    c->moved_ms = clock_ms();
    return len;
}

static void head_read(struct robot_call *c)
{
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    c->answer.status = (int)status;
    c->answer.length = length;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    c->moved_ms = clock_ms();
    if (!c->head_told) {
        head_read(c);
        c->head_told = true;
        if (c->spec.on_head && c->answer.status == 200)
            c->streaming = c->spec.on_head(c->spec.arg, &c->answer);
    }
    if (c->streaming) {
        /* on_data takes all it is given; "full" pauses the transfer before the next piece. */
        if (c->paused)
            return CURL_WRITEFUNC_PAUSE;
        c->paused = !c->spec.on_data(c->spec.arg, data, len);
        return len;
    }
    if (c->in.len + len > c->spec.max_bytes || (c->answer.length > 0 && (uint64_t)c->answer.length > c->spec.max_bytes)) {
        c->too_big = true;
        return 0;
    }
    buf_add(&c->in, data, len);
    return len;
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

static CURL *easy_get(struct robot_http *h)
{
    if (h->n_idle) {
        CURL *easy = h->idle[--h->n_idle];
        curl_easy_reset(easy);
        return easy;
    }
    CURL *easy = curl_easy_init();
    CHECK(easy, "curl_easy_init");
    return easy;
}

static void limit_due(void *arg)
{
    struct robot_call *c = arg;
    uint64_t now = clock_ms();
    int64_t limit = c->head_told ? c->spec.idle_ms : c->spec.first_byte_ms;
    if (c->paused) /* somebody else is slow: not the robot's time */
        c->moved_ms = now;
    uint64_t since = c->head_told ? c->moved_ms : c->started_ms;
    if (limit && now >= since + (uint64_t)limit) {
        c->timed_out = true;
        c->answer.result = CALL_TIMEOUT;
        curl_multi_remove_handle(c->http->multi, c->easy);
        c->stopped_by_us = true;
        reap(c->http);
        return;
    }
    uint64_t next = limit ? since + (uint64_t)limit - now : 1000;
    loop_timer_in(c->http->loop, &c->watch, next < 1000 ? next + 1 : 1000);
}

struct robot_call *call_start(struct robot_http *h, const struct call_spec *spec)
{
    struct robot_call *c = xcalloc(1, sizeof(*c));
    struct buf url = {0};
    c->http = h;
    c->spec = *spec;
    c->started_ms = c->moved_ms = clock_ms();
    c->answer.length = -1;
    buf_adds(&url, spec->base_url);
    buf_adds(&url, spec->path);
    c->url = buf_take(&url, NULL);
    CURL *e = c->easy = easy_get(h);
    curl_easy_setopt(e, CURLOPT_URL, c->url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_MAXCONNECTS, 4096L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "chasqui");
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->connect_ms);
    if (spec->total_ms)
        curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->total_ms);
    if (spec->on_data)
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 131072L);
    if (strcmp(spec->method, "POST") == 0) {
        c->body_len = spec->body_len;
        c->body = xmalloc(spec->body_len + 1);
        memcpy(c->body, spec->body, spec->body_len);
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)spec->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body);
        c->headers = curl_slist_append(c->headers, "Content-Type: application/json");
        c->headers = curl_slist_append(c->headers, "Expect:");
    } else if (strcmp(spec->method, "GET") != 0) {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, spec->method);
    }
    header_add(c, "Idempotency-Key", spec->idempotency_key);
    header_add(c, "X-Request-Id", spec->request_id);
    header_add(c, "traceparent", spec->traceparent);
    if (c->headers)
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    c->spec.base_url = c->spec.path = c->spec.body = c->spec.idempotency_key = c->spec.request_id = c->spec.traceparent = NULL;
    c->spec.method = NULL;
    if ((c->next = h->first))
        c->next->link = &c->next;
    c->link = &h->first;
    h->first = c;
    h->n_running++;
    if (spec->first_byte_ms || spec->idle_ms) {
        c->watch.fn = limit_due;
        c->watch.arg = c;
        loop_timer_in(h->loop, &c->watch, 1 + (uint64_t)(spec->first_byte_ms && spec->first_byte_ms < 1000 ? spec->first_byte_ms : 1000));
    }
    CHECK(curl_multi_add_handle(h->multi, e) == CURLM_OK, "curl_multi_add_handle");
    return c;
}

static void call_free(struct robot_call *c)
{
    struct robot_http *h = c->http;
    loop_timer_stop(h->loop, &c->watch);
    if ((*c->link = c->next))
        c->next->link = c->link;
    h->n_running--;
    if (h->n_idle < IDLE_HANDLES_MAX)
        h->idle[h->n_idle++] = c->easy;
    else
        curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    free(c->url);
    if (c->body) {
        explicit_bzero(c->body, c->body_len);
        free(c->body);
    }
    buf_free(&c->in);
    free(c);
}

void call_resume(struct robot_call *c)
{
    int running;
    if (!c->paused)
        return;
    c->paused = false;
    c->moved_ms = clock_ms();
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    curl_multi_socket_action(c->http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

void call_stop(struct robot_call *c)
{
    if (!c->stopped_by_us)
        curl_multi_remove_handle(c->http->multi, c->easy);
    call_free(c);
}

unsigned calls_running(const struct robot_http *h)
{
    return h->n_running;
}

/* ---- the end of a call --------------------------------------------------------------------------------------------------- */

static enum call_result result_of(struct robot_call *c, CURLcode code)
{
    curl_off_t sent = 0;
    long request_size = 0;
    curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &request_size);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    bool anything_sent = request_size > 0 || sent > 0;
    if (c->too_big)
        return CALL_TOO_BIG;
    switch ((int)code) {
    case CURLE_OK:
        return CALL_ANSWERED;
    case CURLE_OPERATION_TIMEDOUT:
        return anything_sent ? CALL_TIMEOUT : CALL_NOT_SENT;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return CALL_NOT_SENT;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_PARTIAL_FILE:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WRITE_ERROR:
        c->answer.garbage = true;
        return CALL_BROKEN;
    default:
        break;
    }
    if (code == CURLE_RECV_ERROR && c->head_told)
        c->answer.garbage = true; /* cut in the middle of its body */
    return anything_sent ? CALL_BROKEN : CALL_NOT_SENT;
}

static void call_end(struct robot_call *c, enum call_result result)
{
    head_read(c);
    c->answer.result = result;
    c->answer.body = &c->in;
    c->answer.took_ms = (int64_t)(clock_ms() - c->started_ms);
    c->answer.curl_text = c->error;
    stat_inc(robot_calls_total);
    if (result != CALL_ANSWERED)
        stat_inc(robot_calls_failed_total);
    c->spec.done(c->spec.arg, &c->answer);
    call_free(c);
}

static void reap(struct robot_http *h)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(h->multi, &left)))
        if (m->msg == CURLMSG_DONE) {
            struct robot_call *c;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
            curl_multi_remove_handle(h->multi, c->easy);
            c->stopped_by_us = true;
            call_end(c, result_of(c, code));
        }
    for (struct robot_call *c = h->first, *next; c; c = next) {
        next = c->next;
        if (c->timed_out) {
            call_end(c, CALL_TIMEOUT);
            next = h->first; /* `done` may have ended others */
        }
    }
}

struct robot_http *robot_http_new(struct loop *l, const struct conf *conf)
{
    struct robot_http *h = xcalloc(1, sizeof(*h));
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init");
    h->loop = l;
    h->multi = curl_multi_init();
    CHECK(h->multi, "curl_multi_init");
    h->timer.fn = timer_due;
    h->timer.arg = h;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 4096L);
    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    networks_read(h, conf->robot_allow_addresses);
    return h;
}

void robot_http_destroy(struct robot_http **hp)
{
    struct robot_http *h = *hp;
    if (!h)
        return;
    while (h->first)
        call_stop(h->first);
    loop_timer_stop(h->loop, &h->timer);
    while (h->n_idle)
        curl_easy_cleanup(h->idle[--h->n_idle]);
    curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    free(h);
    *hp = NULL;
}
