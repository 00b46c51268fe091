/* SPDX-License-Identifier: MIT */
/*
 * conf.c - the configuration of one process: conf.def's defaults, then the file, then the environment. Collects
 * every mistake before it gives up. Holds secrets (database password, tokens). These are overwritten when freed
 * and appear in no message.
 */
#include "common/conf.h"

#include "common/check.h"
#include "common/host_slot.h"
#include "common/fold.h"
#include "common/log.h"
#include "common/trial.h"
#include "common/zpl.h"
#include "common/zone.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_BYTES_MAX 4096

struct row {
    unsigned owners;
    const char *section, *key;
    bool is_int;
    const char *def;
    int64_t def_int, min, max;
    const char *unit, *help;
    size_t offset; /* of the member in struct conf */
};

static const struct row rows[] = {
#define CONF_STR(owners, section, key, def, unit, help)                                                           \
    {owners, #section, #key, false, def, 0, 0, 0, unit, help, offsetof(struct conf, section##_##key)},
#define CONF_INT(owners, section, key, def, min, max, unit, help)                                                 \
    {owners, #section, #key, true, NULL, def, min, max, unit, help, offsetof(struct conf, section##_##key)},
#include "common/conf.def"
#undef CONF_STR
#undef CONF_INT
};
#define N_ROWS (sizeof rows / sizeof rows[0])

/* The origin of a value, for messages and for "later wins". */
struct origin {
    unsigned line; /* line in the file; 0 = not in the file */
    bool is_env;
};

struct reading {
    struct conf *conf;
    const char *file;
    struct buf *why;
    struct origin origins[N_ROWS];
};

static char **str_of(struct conf *c, const struct row *r)
{
    return (char **)((char *)c + r->offset);
}

static int64_t *int_of(struct conf *c, const struct row *r)
{
    return (int64_t *)((char *)c + r->offset);
}

static bool is_mine(const struct conf *c, const struct row *r)
{
    return r->owners & c->role;
}

/* A key of two words, status_queued, may be written status.queued. */
static bool is_key(const char *key, const char *given)
{
    for (; *key && (*key == *given || (*key == '_' && *given == '.')); given++)
        key++;
    return !*key && !*given;
}

static const struct row *row_find(const char *section, const char *key)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].section, section) == 0 && is_key(rows[i].key, key))
            return &rows[i];
    return NULL;
}

static void wipe_free(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static void set_str(struct conf *c, const struct row *r, const char *value)
{
    wipe_free(*str_of(c, r));
    *str_of(c, r) = value && *value ? xstrdup(value) : NULL;
}

/* CHASQUI_SECTION_KEY, malloc'ed. */
static char *env_name(const struct row *r)
{
    struct buf name = {0};
    buf_addf(&name, "CHASQUI_%s_%s", r->section, r->key);
    for (char *p = name.data; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return buf_take(&name, NULL);
}

/* Reports a mistake in a row, with the origin of its value. */
static void complain(struct reading *rd, const struct row *r, const char *reason)
{
    const struct origin *o = &rd->origins[r - rows];
    if (o->is_env) {
        char *name = env_name(r);
        zpl_complain(rd->why, "environment", 0, "%s: %s", name, reason);
        free(name);
    } else {
        zpl_complain(rd->why, o->line ? rd->file : "defaults", o->line, "%s.%s: %s", r->section, r->key, reason);
    }
}

/* Decimal digits only, no leading zero, within bounds. */
static bool parse_int(const struct row *r, const char *s, int64_t *out)
{
    size_t len = strlen(s);
    if (len < 1 || len > 18 || strspn(s, "0123456789") != len || (len > 1 && s[0] == '0'))
        return false;
    *out = strtoll(s, NULL, 10);
    return *out >= r->min && *out <= r->max;
}

static void take(struct reading *rd, const struct row *r, const char *value)
{
    char reason[128];
    if (r->is_int) {
        if (!parse_int(r, value, int_of(rd->conf, r))) {
            snprintf(reason, sizeof reason, "must be a decimal integer of %" PRId64 " to %" PRId64, r->min,
                     r->max);
            complain(rd, r, reason);
        }
        return;
    }
    for (const char *p = value; *p; p++) {
        if (iscntrl((unsigned char)*p)) {
            complain(rd, r, "holds a control character");
            return;
        }
    }
    if (strlen(value) > VALUE_BYTES_MAX)
        complain(rd, r, "is longer than 4096 bytes");
    else if (!*value && r->def)
        complain(rd, r, "must not be empty");
    else
        set_str(rd->conf, r, value);
}

static void set_defaults(struct conf *c)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (!is_mine(c, &rows[i]))
            continue;
        if (rows[i].is_int)
            *int_of(c, &rows[i]) = rows[i].def_int;
        else
            set_str(c, &rows[i], rows[i].def);
    }
}

static bool is_db_secret(const struct row *r)
{
    return strcmp(r->section, "db") == 0 && strncmp(r->key, "password", strlen("password")) == 0;
}

/* Warns that a broker was given a database password by mistake, which it must not hold. Two cases are not a
 * mistake: the name of a file that the broker cannot read, in a configuration that all programs share; and a
 * broker run by root, who can read every file (--check). */
static void warn_dropped(const struct conf *c, const struct row *r, const char *value, const char *where)
{
    bool is_file = strcmp(r->key, "password_file") == 0;
    if (c->role == CONF_BROKER && is_db_secret(r) && (!is_file || (geteuid() != 0 && access(value, R_OK) == 0)))
        log_line(LOG_WARN, "db_password_dropped", "key", r->key, "from", where, "why",
                 "a broker must not be given the database password", NULL);
}

static bool is_prefix(const char *section, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].section, section) == 0 && strncmp(rows[i].key, word, len) == 0 &&
            rows[i].key[len] == '_')
            return true;
    return false;
}

/* `prefix`: for keys in a section of their own (laravel / status / queued), else "". */
static void read_keys(struct reading *rd, const struct zpl *section, const char *name, const char *prefix)
{
    for (const struct zpl *z = section->child; z; z = z->next) {
        char key[80];
        snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "", z->name);
        const struct row *r = row_find(name, key);
        if (!r && z->child && !*prefix && is_prefix(name, z->name)) {
            read_keys(rd, z, name, z->name);
            continue;
        }
        if (!r) {
            zpl_complain(rd->why, rd->file, z->line, "%s.%s: unknown key", name, key);
            continue;
        }
        if (!is_mine(rd->conf, r)) {
            if (z->value && *z->value)
                warn_dropped(rd->conf, r, z->value, rd->file);
            continue;
        }
        struct origin *o = &rd->origins[r - rows];
        unsigned before = o->line;
        o->line = z->line;
        if (before)
            complain(rd, r, "given twice");
        else if (z->child || !z->value)
            complain(rd, r, "a value is expected (key = value)");
        else
            take(rd, r, z->value);
    }
}

static void read_section(struct reading *rd, const struct zpl *section)
{
    read_keys(rd, section, section->name, "");
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].section, name) == 0)
            return true;
    return false;
}

/* Returns the section `actions`, or NULL. *portals = the section `portals`, or NULL. */
static const struct zpl *read_sections(struct reading *rd, const struct zpl *root, const struct zpl **portals)
{
    const struct zpl *actions = NULL;
    for (const struct zpl *z = root->child; z; z = z->next) {
        bool is_actions = strcmp(z->name, "actions") == 0, is_portals = strcmp(z->name, "portals") == 0;
        if (!is_actions && !is_portals && !is_section(z->name))
            zpl_complain(rd->why, rd->file, z->line, "%s: unknown section", z->name);
        else if (z != zpl_find(root, z->name))
            zpl_complain(rd->why, rd->file, z->line, "%s: section given twice", z->name);
        else if (z->value)
            zpl_complain(rd->why, rd->file, z->line, "%s: a section takes no value", z->name);
        else if (is_actions)
            actions = z;
        else if (is_portals)
            *portals = z;
        else
            read_section(rd, z);
    }
    return actions;
}

static void read_environment(struct reading *rd)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *r = &rows[i];
        char *name = env_name(r), *value = getenv(name);
        if (value && is_mine(rd->conf, r)) {
            rd->origins[i].is_env = true;
            take(rd, r, value);
        } else if (value && *value && rd->conf->role == CONF_BROKER && is_db_secret(r)) {
            warn_dropped(rd->conf, r, value, "environment");
            explicit_bzero(value, strlen(value)); /* so that /proc/self/environ no longer shows it */
            unsetenv(name);
        }
        free(name);
    }
}

/* A misspelt CHASQUI_SECTION_KEY would be ignored silently. Other programs may use such names too, so this only
 * warns. */
static void warn_unknown_environment(void)
{
    extern char **environ;
    for (char **e = environ; e && *e; e++) {
        if (strncmp(*e, "CHASQUI_", strlen("CHASQUI_")) != 0)
            continue;
        char *name = xstrndup(*e, strcspn(*e, "="));
        bool is_known = false, is_ours = false;
        for (size_t i = 0; i < N_ROWS && !is_known; i++) {
            char *known = env_name(&rows[i]);
            size_t section = strlen("CHASQUI_") + strlen(rows[i].section) + 1;
            is_known = strcmp(known, name) == 0;
            is_ours |= strncmp(known, name, section) == 0;
            free(known);
        }
        if (is_ours && !is_known)
            log_line(LOG_WARN, "environment_unknown", "name", name, NULL);
        free(name);
    }
}

/* The first line of db.password_file becomes db.password, unless db.password comes from the same or a later
 * source. */
static void read_password_file(struct reading *rd)
{
    const struct row *file = row_find("db", "password_file"), *word = row_find("db", "password");
    const char *path = rd->conf->db_password_file;
    if (!is_mine(rd->conf, file) || !path)
        return;
    if (rd->conf->db_password) {
        bool file_is_env = rd->origins[file - rows].is_env, word_is_env = rd->origins[word - rows].is_env;
        if (file_is_env == word_is_env)
            complain(rd, file, "db.password is set too; keep one of them");
        if (!file_is_env || word_is_env)
            return;
    }
    char text[VALUE_BYTES_MAX], reason[VALUE_BYTES_MAX + 128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len < 0) {
        snprintf(reason, sizeof reason, "cannot read %s: %s", path, strerror(errno));
        complain(rd, file, reason);
    } else {
        text[len] = '\0';
        text[strcspn(text, "\r\n")] = '\0';
        set_str(rd->conf, word, text);
        if (!*text)
            complain(rd, file, "the file's first line is empty");
    }
    if (fd >= 0)
        close(fd);
    explicit_bzero(text, sizeof text);
}

static bool is_endpoint(const char *s)
{
    return strncmp(s, "tcp://", 6) == 0 ? strrchr(s + 6, ':') != NULL
                                        : strncmp(s, "ipc://", 6) == 0 || strncmp(s, "inproc://", 9) == 0;
}

static void check_endpoints(struct reading *rd, const struct row *r)
{
    const char *list = *str_of(rd->conf, r);
    unsigned n;
    char **endpoints = conf_list(list, &n);
    bool good = n > 0;
    for (unsigned i = 0; i < n; i++)
        good = good && is_endpoint(endpoints[i]);
    free(endpoints);
    if (!good)
        complain(rd, r, "must be ZeroMQ endpoints like tcp://127.0.0.1:5570");
    else if (!rd->conf->curve_dir && !conf_is_loopback(list))
        complain(rd, r, "an endpoint beyond loopback needs CURVE keys (curve.dir; chasqui keys init makes them)");
}

/* host, host:port, [address]:port, or an IPv6 address. */
static bool is_host(const char *s)
{
    const char *colon = strrchr(s, ':'), *close_bracket = strchr(s, ']');
    bool has_port = *s == '[' ? close_bracket && close_bracket[1] == ':' : colon && strchr(s, ':') == colon;
    if (*s == '[' && (!close_bracket || (close_bracket[1] && close_bracket[1] != ':')))
        return false;
    char *end = NULL;
    long port = has_port && isdigit((unsigned char)colon[1]) ? strtol(colon + 1, &end, 10) : 0;
    return colon != s && strlen(s) < 256 && !strpbrk(s, " /@") &&
           (!has_port || (end && !*end && port >= 1 && port <= 65535));
}

static void check_hosts(struct reading *rd, const struct row *r)
{
    unsigned n;
    char **hosts = conf_list(*str_of(rd->conf, r), &n);
    bool good = n > 0 && n <= 16;
    for (unsigned i = 0; i < n && good; i++)
        good = is_host(hosts[i]);
    free(hosts);
    if (!good)
        complain(rd, r, "must be hosts like db1.example:3306, 10.0.0.2, [2001:db8::1]:3306; at most 16");
}

/* Without db.tls_ca TLS is off, and a client certificate alone would never be sent. */
static void check_tls(struct reading *rd)
{
    const struct row *ca = row_find("db", "tls_ca"), *cert = row_find("db", "tls_cert"),
                     *key = row_find("db", "tls_key");
    const struct conf *c = rd->conf;
    if (!is_mine(c, ca))
        return;
    if (c->db_tls_cert && !c->db_tls_ca)
        complain(rd, cert, "needs db.tls_ca");
    if (!c->db_tls_cert != !c->db_tls_key)
        complain(rd, c->db_tls_cert ? cert : key, "db.tls_cert and db.tls_key go together");
    const struct row *rows_of[] = {ca, cert, key};
    const char *paths[] = {c->db_tls_ca, c->db_tls_cert, c->db_tls_key};
    for (unsigned i = 0; i < 3; i++)
        if (paths[i] && access(paths[i], R_OK) != 0) {
            char reason[VALUE_BYTES_MAX + 128];
            snprintf(reason, sizeof reason, "cannot read %s: %s", paths[i], strerror(errno));
            complain(rd, rows_of[i], reason);
        }
}

static void check_zone(struct reading *rd, const struct row *r)
{
    const char *why;
    struct zone *z = zone_new(*str_of(rd->conf, r), &why);
    if (!z)
        complain(rd, r, why);
    zone_destroy(&z);
}

/* Checks the words of portal_jobs.status. Each word must have one meaning when it is read back. Only the statuses
 * of waiting rows may share a word. */
static void check_words(struct reading *rd)
{
    static const char *const own[] = {"queued", "retrying", "running", "done", "failed", "cancelled"};
    const struct row *at[6];
    const char *word[6];
    for (unsigned i = 0; i < 6; i++) {
        char key[32];
        snprintf(key, sizeof(key), "status_%s", own[i]);
        at[i] = row_find("laravel", key);
        word[i] = is_mine(rd->conf, at[i]) && *str_of(rd->conf, at[i]) ? *str_of(rd->conf, at[i]) : own[i];
        size_t len = strlen(word[i]);
        if (len > 20 ||
            strspn(word[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != len)
            complain(rd, at[i], "must be 1-20 of letters, digits, '_', '-' and '.'");
        for (unsigned k = 0; k < i; k++)
            if (strcasecmp(word[i], word[k]) == 0 && (i != 1 || strcmp(word[i], word[k]) != 0)) {
                char reason[128];
                snprintf(reason, sizeof(reason), "is the word for %s too: only queued and retrying may share one",
                         own[k]);
                complain(rd, *str_of(rd->conf, at[i]) ? at[i] : at[k], reason);
            }
    }
}

static void check_columns(struct reading *rd)
{
    const struct row *r = row_find("laravel", "columns");
    unsigned n;
    char **names = is_mine(rd->conf, r) && *str_of(rd->conf, r) ? conf_list(*str_of(rd->conf, r), &n) : NULL;
    for (unsigned i = 0; names && i < n; i++)
        if (strcmp(names[i], "payload") != 0 && strcmp(names[i], "result") != 0 &&
            strcmp(names[i], "user_id") != 0)
            complain(rd, r, "must be a comma list of payload, result and user_id");
    free(names);
}

static bool is_name(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
            return false;
    return len >= 1 && len <= 64;
}

/* Writes the first four letters of the machine's id and a dash, or nothing when the machine has no id. */
static void machine_read(char out[6])
{
    FILE *f = fopen("/etc/machine-id", "re");
    if (!f || fscanf(f, "%4[0-9a-f]", out) != 1)
        *out = 0;
    if (f)
        fclose(f);
    if (*out)
        strcat(out, "-");
}

/* Makes a name of host name, machine and slot, in the letters that a name may have. The name stays the same after
 * a restart, and differs on a host with the same host name. */
static void name_dispatcher(struct conf *c)
{
    char host[49] = "", machine[6], name[80];
    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        strcpy(host, "dispatcher");
    for (char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '-';
    machine_read(machine);
    snprintf(name, sizeof name, "%s-%s%u", host, machine, host_slot("chasqui-dispatcher"));
    c->dispatcher_name = xstrdup(name);
}

static void check_choice(struct reading *rd, const char *key, const char *value, const char *const words[3],
                         const char *why)
{
    for (unsigned i = 0; i < 3 && words[i]; i++)
        if (strcmp(value, words[i]) == 0)
            return;
    complain(rd, row_find("alerts", key), why);
}

static void check_alerts(struct reading *rd)
{
    const struct conf *c = rd->conf;
    if (c->role != CONF_DISPATCHER)
        return;
    check_choice(rd, "format", c->alerts_format, (const char *const[3]){"json", "slack", "telegram"},
                 "must be json, slack or telegram");
    check_choice(rd, "language", c->alerts_language, (const char *const[3]){"en", "es", NULL}, "must be en or es");
    check_choice(rd, "level", c->alerts_level, (const char *const[3]){"warn", "bad", NULL}, "must be warn or bad");
}

/* Checks rules that concern more than one value. */
static void check_whole(struct reading *rd)
{
    struct conf *c = rd->conf;
    bool has_endpoints = false;
    for (size_t i = 0; i < N_ROWS; i++) {
        if (is_mine(c, &rows[i]) && strcmp(rows[i].unit, "endpoints") == 0) {
            has_endpoints = true;
            check_endpoints(rd, &rows[i]);
        }
        if (is_mine(c, &rows[i]) && strcmp(rows[i].unit, "hosts") == 0)
            check_hosts(rd, &rows[i]);
        if (is_mine(c, &rows[i]) && strcmp(rows[i].unit, "time zone") == 0)
            check_zone(rd, &rows[i]);
    }
    check_tls(rd);
    check_words(rd);
    check_columns(rd);
    enum log_level level;
    if (!log_level_from(c->log_level, &level))
        complain(rd, row_find("log", "level"), "must be debug, info, warn or error");
    if (is_mine(c, row_find("retention", "portal_jobs")) && strcmp(c->retention_portal_jobs, "keep") != 0 &&
        strcmp(c->retention_portal_jobs, "delete") != 0)
        complain(rd, row_find("retention", "portal_jobs"), "must be keep or delete");
    enum log_format format;
    if (!log_format_from(c->log_format, &format))
        complain(rd, row_find("log", "format"), "must be text or json");
    if (c->role == CONF_BROKER && strcmp(c->broker_metrics, "open") != 0 &&
        strcmp(c->broker_metrics, "token") != 0)
        complain(rd, row_find("broker", "metrics"), "must be open or token");
    if (c->role == CONF_DISPATCHER && strcmp(c->viewer_rights, "view") != 0 &&
        strcmp(c->viewer_rights, "control") != 0)
        complain(rd, row_find("viewer", "rights"), "must be view or control");
    check_alerts(rd);
    if (c->role == CONF_DISPATCHER && !c->dispatcher_name)
        name_dispatcher(c);
    else if (c->role == CONF_DISPATCHER && !is_name(c->dispatcher_name))
        complain(rd, row_find("dispatcher", "name"), "must be 1-64 of letters, digits, '.', '_' and '-'");
    if (has_endpoints && !c->curve_dir && !rd->why->len)
        log_line(LOG_WARN, "curve_off", "why", "curve.dir is not set: every local process may speak to this one",
                 NULL);
}

struct conf *conf_parse(enum conf_owner role, const char *file, const char *text, size_t len, struct buf *why)
{
    struct reading rd = {.conf = xcalloc(1, sizeof *rd.conf), .file = file ? file : "defaults", .why = why};
    size_t before = why->len;
    struct zpl *root = zpl_parse(rd.file, text, len, why);
    rd.conf->role = role;
    rd.conf->file = file ? xstrdup(file) : NULL;
    set_defaults(rd.conf);
    if (root) {
        const struct zpl *portals = NULL, *actions = read_sections(&rd, root, &portals);
        read_environment(&rd);
        read_password_file(&rd);
        if (role & (CONF_BROKER | CONF_DISPATCHER |
                    CONF_CTL)) /* after the environment, because timeout.login_ms is their default */
            action_table_load(&rd.conf->actions, rd.conf->timeout_login_ms, rd.conf->timeout_list_ms, rd.file,
                              actions, why);
        if (role & CONF_DISPATCHER)
            portal_conf_load(&rd.conf->portals, rd.file, portals, why);
        zpl_free(root);
    }
    if (why->len == before)
        check_whole(&rd);
    if (why->len > before)
        conf_destroy(&rd.conf);
    return rd.conf;
}

void conf_destroy(struct conf **cp)
{
    struct conf *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    for (size_t i = 0; i < N_ROWS; i++)
        if (!rows[i].is_int)
            wipe_free(*str_of(c, &rows[i]));
    action_table_free(&c->actions);
    portal_conf_free(&c->portals);
    free(c->file);
    free(c);
}

/* Reads a whole file of at most ZPL_BYTES_MAX + 1 bytes. Returns false with errno. */
static bool slurp(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n;
    do {
        n = read(fd, buf_room(out, 8192), 8192);
        if (n > 0)
            out->len += (size_t)n;
    } while ((n > 0 || (n < 0 && errno == EINTR)) && out->len <= ZPL_BYTES_MAX);
    int saved = errno;
    close(fd);
    errno = saved;
    return n >= 0;
}

struct conf *conf_load(enum conf_owner role, const char *path)
{
    static const char *const places[] = {"chasqui.conf", "/etc/chasqui/chasqui.conf"};
    struct buf text = {0}, why = {0};
    if (!path)
        path = getenv("CHASQUI_CONF");
    bool is_named = path && *path;
    bool is_read = is_named && slurp(path, &text);
    for (size_t i = 0; !is_named && !is_read && i < sizeof places / sizeof places[0]; i++) {
        path = places[i];
        is_read = slurp(path, &text);
        if (!is_read && errno != ENOENT)
            is_named = true; /* it exists, so failing to read it is an error to report */
    }
    struct conf *c = NULL;
    if (!is_read && is_named) {
        zpl_complain(&why, path, 0, "cannot be read: %s", strerror(errno));
    } else {
        buf_adds(&text, "");
        c = conf_parse(role, is_read ? path : NULL, text.data, text.len, &why);
    }
    if (c)
        warn_unknown_environment();
    else
        fputs(why.data, stderr);
    buf_wipe(&text);
    buf_free(&why);
    return c;
}

void conf_help(enum conf_owner role, FILE *out)
{
    fprintf(out, "Configuration keys (section.key in the file, CHASQUI_SECTION_KEY in the\nenvironment):\n");
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *r = &rows[i];
        if (!(r->owners & role))
            continue;
        fprintf(out, "\n  %s.%s", r->section, r->key);
        if (r->is_int)
            fprintf(out, " = %" PRId64 "%s%s (%" PRId64 " to %" PRId64 ")\n", r->def_int, *r->unit ? " " : "",
                    r->unit, r->min, r->max);
        else
            fprintf(out, " = %s%s%s\n", r->def ? r->def : "(none)", *r->unit ? "  " : "", r->unit);
        fputs("      ", out);
        fold(out, r->help, 6, 6, NULL);
    }
    if (role & (CONF_BROKER | CONF_DISPATCHER))
        fprintf(out, "\n  actions.NAME.method|path|session|timeout_ms|final_errors|portal_errors\n"
                     "      What the action NAME (portal.name) calls on a robot; see the README.\n");
    if (role & CONF_DISPATCHER)
        fprintf(
            out,
            "\n  portals.NAME.logins_per_minute|logins_at_once|breaker = 0 | 0 | on\n"
            "      What all dispatchers together may ask of a portal (0 = no limit), and whether its queued log-ins wait while it is down.\n");
}

static void print_usage(const char *program, FILE *out)
{
    fprintf(out,
            "Usage: %s [-c FILE] [--check]\n\n"
            "  -c, --config FILE  configuration; else $CHASQUI_CONF, ./chasqui.conf,\n"
            "                     /etc/chasqui/chasqui.conf\n"
            "      --check        try what would be opened (as root: as the unit's user), and stop:\n"
            "                     configuration, keys, endpoints, database\n"
            "  -h, --help         this text and every configuration key\n"
            "      --version      the version\n",
            program);
}

struct conf *conf_from_args(enum conf_owner role, const char *program, int argc, char **argv)
{
    enum { OPT_CHECK = 256, OPT_VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, OPT_CHECK},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    bool is_check = false;
    log_open(program, LOG_INFO);
    for (int opt; (opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (opt) {
        case 'c':
            path = optarg;
            break;
        case OPT_CHECK:
            is_check = true;
            break;
        case OPT_VERSION:
            printf("%s %s\n", program, CHASQUI_VERSION);
            exit(0);
        case 'h':
            print_usage(program, stdout);
            printf("\n");
            conf_help(role, stdout);
            exit(0);
        default:
            print_usage(program, stderr);
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument %s\n", program, argv[optind]);
        print_usage(program, stderr);
        exit(2);
    }
    struct conf *c = conf_load(role, path);
    if (!c)
        exit(2);
    c->is_check = is_check;
    if (is_check) {
        printf("%s: the configuration is good\n", c->file ? c->file : "defaults");
        if (!trial_user(program, c))
            exit(1);
    }
    enum log_level level = LOG_INFO;
    log_level_from(c->log_level, &level);
    log_open(program, level);
    enum log_format format = LOG_TEXT;
    log_format_from(c->log_format, &format);
    log_format(format);
    return c;
}

static bool is_loopback_host(const char *host, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    }
    if (len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, text, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(text, "localhost") == 0;
}

bool conf_is_loopback(const char *endpoints)
{
    unsigned n;
    char **list = conf_list(endpoints, &n);
    bool all = true;
    for (unsigned i = 0; i < n && all; i++) {
        if (strncmp(list[i], "ipc://", 6) == 0 || strncmp(list[i], "inproc://", 9) == 0)
            continue;
        const char *host = list[i] + 6, *colon = strrchr(list[i], ':');
        all =
            strncmp(list[i], "tcp://", 6) == 0 && colon >= host && is_loopback_host(host, (size_t)(colon - host));
    }
    free(list);
    return all;
}

char **conf_list(const char *comma_list, unsigned *n)
{
    size_t len = strlen(comma_list), room = 2;
    for (const char *p = comma_list; *p; p++)
        room += *p == ',';
    char **list = xmalloc(room * sizeof *list + len + 1);
    char *text = (char *)(list + room), *save = NULL;
    unsigned count = 0;
    memcpy(text, comma_list, len + 1);
    for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        item += strspn(item, " \t");
        size_t end = strlen(item);
        while (end && (item[end - 1] == ' ' || item[end - 1] == '\t'))
            item[--end] = '\0';
        if (*item)
            list[count++] = item;
    }
    list[count] = NULL;
    if (n)
        *n = count;
    return list;
}
