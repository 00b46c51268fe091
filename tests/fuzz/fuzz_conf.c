/* parts: common */
/* SPDX-License-Identifier: MIT */
/* Configurations put together of good and bad lines, and good ones damaged. What
 * is taken must keep every bound of the table; what is not must say why. */
#include "common/conf.h"

#include "common/check.h"
#include "common/host_slot.h"
#include "common/log.h"
#include "tests/fuzz/fuzz.h"

static const char *const lines[] = {
    "broker",
    "    http = 127.0.0.1:80",
    "    deadline_ms = 500",
    "    bind = tcp://127.0.0.1:1",
    "    bind = tcp://*:1",
    "dispatcher",
    "    name = d1",
    "    brokers = 'tcp://127.0.0.1:1,tcp://127.0.0.1:2'",
    "    concurrency = 4",
    "healthd",
    "    control = ipc:///tmp/x",
    "    interval_ms = 100",
    "health",
    "    endpoints = inproc://x",
    "log",
    "    level = warn",
    "    level = \"info\"",
    "curve",
    "    dir = /keys",
    "db",
    "    port = 1",
    "    name = ''",
    "    password_file = /nowhere",
    "actions",
    "    sunat.echo",
    "        path = /x",
    "        session = use",
    "        session = create",
    "        method = GET",
    "        timeout_ms = 100",
    "        final_errors = a, b",
    "    sunat.menu_sol_login",
    "# comment",
    "",
    "    ",
    "  ",
    "    # c",
    "    x",
    "x",
    "    deadline_ms = 0",
    "    http = 'a",
    "    http = a # b",
    "    http = #",
    "        path = /../",
    "            deeper = 1",
    "\t",
    "=",
    "timeout",
    "    login_ms = 600000",
    "    login_ms = 600001",
    "session",
    "    sweep_ms = 50",
};

static const char sample[] =
    "# everything\nbroker\n    http = 127.0.0.1:8080\n    deadline_ms = 28000\nlog\n"
    "    level = \"info\"   # text\ncurve\n    dir = '/etc/chasqui/keys'\nactions\n"
    "    sunat.echo\n        path = /sunat/echo\n        session = use\n"
    "        timeout_ms = 30000\n        final_errors = bad_credentials,unknown_company\n";

/* A dispatcher without a name takes the first free slot of the host and keeps it: the real one takes longer with each run. */
unsigned host_slot(const char *kind)
{
    (void)kind;
    return 1;
}

static void make_lines(struct buf *b)
{
    for (unsigned n = pick(12); n; n--)
        buf_addf(b, "%s\n", PICK(lines));
}

static void make_damaged(struct buf *b)
{
    buf_add(b, sample, sizeof sample - 1);
    for (unsigned n = pick(4); n && b->len; n--) {
        unsigned at = pick((unsigned)b->len);
        switch (pick(3)) {
        case 0:
            b->data[at] = (char)pick(256);
            break;
        case 1:
            memmove(b->data + at, b->data + at + 1, b->len - at - 1);
            b->len--;
            break;
        default:
            b->len = at;
        }
    }
}

static void check_string(const char *s)
{
    for (; s && *s; s++)
        CHECK((unsigned char)*s >= ' ' && *s != 0x7f, "byte=%d", *s);
}

static void check_taken(const struct conf *c)
{
#define CONF_STR(owners, section, key, def, unit, help) check_string(c->section##_##key);
#define CONF_INT(owners, section, key, def, min, max, unit, help)                                                 \
    CHECK(!((owners)&c->role) || (c->section##_##key >= (min) && c->section##_##key <= (max)), #section "." #key);
#include "common/conf.def"
#undef CONF_STR
#undef CONF_INT
    if (!c->curve_dir && c->role == CONF_BROKER)
        CHECK(conf_is_loopback(c->broker_bind), "%s", c->broker_bind);
    for (unsigned i = 0; i < c->actions.n; i++) {
        const struct action *a = &c->actions.rows[i];
        CHECK(strchr(a->name, '.') && a->path[0] == '/' && !strstr(a->path, ".."), "%s %s", a->name, a->path);
        CHECK(strncmp(a->name, a->portal, strlen(a->portal)) == 0, "%s %s", a->name, a->portal);
        CHECK(a->timeout_ms >= 100 && a->timeout_ms <= 600000, "%s", a->name);
    }
}

int main(int argc, char **argv)
{
    static const enum conf_owner roles[] = {CONF_BROKER, CONF_DISPATCHER, CONF_HEALTHD, CONF_CTL};
    unsigned long runs = runs_of(argc, argv), taken = 0;
    log_open("fuzz_conf", LOG_ERROR);
    for (unsigned long run = 0; run < runs; run++) {
        struct buf b = {0}, why = {0};
        buf_adds(&b, "");
        if (pick(2))
            make_lines(&b);
        else
            make_damaged(&b);
        char *exact = exact_copy(b.data, b.len);
        struct conf *c = conf_parse(roles[pick(4)], "fuzz", exact, b.len, &why);
        free(exact);
        CHECK((c != NULL) == (why.len == 0), "why=%s", why.data);
        if (c) {
            taken++;
            check_taken(c);
        } else {
            CHECK(why.data[why.len - 1] == '\n' && strncmp(why.data, "fuzz", 4) == 0, "why=%s", why.data);
        }
        conf_destroy(&c);
        buf_free(&b);
        buf_free(&why);
    }
    printf("fuzz_conf: %lu files, %lu taken\n", runs, taken);
    return taken ? 0 : 1;
}
