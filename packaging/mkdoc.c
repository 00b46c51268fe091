/* SPDX-License-Identifier: MIT */
/*
 * mkdoc.c - makes the manual pages, the completion for bash and the sample
 * configuration from the tables that make the programs, so that none of them
 * can say something else. Run at build time: mkdoc PAGE > FILE.
 */
#include "broker/openapi.h"
#include "broker/phrase.h"
#include "broker/route.h"
#include "common/conf.h"
#include "common/stat.h"
#include "ctl/ctl.h"
#include "ctl/option_help.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables --------------------------------------------------------------------------------------------- */

static const struct page {
    const char *name;
    int section;
    const char *line, *text;
} pages[] = {
#define PAGE(name, section, line, text) {name, section, line, text},
#include "packaging/page.def"
#undef PAGE
};

static const struct command commands[] = {
#define COMMAND(noun, verb, handler, needs, words, options, repeated, usage, line, help)                          \
    {noun, verb, NULL, needs, words, options, repeated, usage, line, help},
#include "ctl/command.def"
#undef COMMAND
};

static const struct option_row options[] = {
#define OPTION(symbol, name, argument, help) {name, argument, help},
#include "ctl/option.def"
#undef OPTION
};

static const struct example {
    const char *noun, *verb, *line, *does;
} examples[] = {
#define EXAMPLE(noun, verb, line, does) {noun, verb, line, does},
#include "ctl/example.def"
#undef EXAMPLE
};

/* What stands behind an option, for completion: names that are asked for, else fixed words. */
static const struct values {
    enum option_id option;
    const char *kind, *words;
} values[] = {
#define VALUES(symbol, kind, words) {OPT_##symbol, kind, words},
#include "ctl/complete.def"
#undef VALUES
};

static const struct key {
    unsigned owners;
    const char *section, *key, *def;
    bool is_int;
    int64_t def_int, min, max;
    const char *unit, *help;
} keys[] = {
#define CONF_STR(owners, section, key, def, unit, help) {owners, #section, #key, def, false, 0, 0, 0, unit, help},
#define CONF_INT(owners, section, key, def, min, max, unit, help)                                                 \
    {owners, #section, #key, NULL, true, def, min, max, unit, help},
#include "common/conf.def"
#undef CONF_STR
#undef CONF_INT
};

static const struct row { /* of routes */
    enum listener listener;
    const char *method, *path;
    unsigned ability;
    const char *doc;
} routes[] = {
#define ROUTE(listener, method, path, ability, counts, takes, handler, doc) {listener, method, path, ability, doc},
#include "broker/routes.def"
#undef ROUTE
};

static const struct error {
    const char *code;
    int status;
    const char *text;
} errors[] = {
#define ERR(symbol, code, status, retry, text) {code, status, text},
#include "common/errors.def"
#undef ERR
};

static const struct fault_row {
    const char *name, *line;
} faults[] = {
#define FAULT(symbol, name, line) {name, line},
#include "proto/fault.def"
#undef FAULT
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

/* ---- roff --------------------------------------------------------------------------------------------------- */

/* A character beyond ASCII, as roff names it; answers its bytes. Our tables are UTF-8. */
static size_t beyond_ascii(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    unsigned code = u[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (u[i] & 0x3fu);
    printf("\\[u%04X]", code);
    return len;
}

/* Text that is no request and no escape. */
static void text(const char *s)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", stdout);
    for (; *s; s++) {
        if ((unsigned char)*s >= 0x80)
            s += beyond_ascii(s) - 1;
        else if (*s == '\\')
            fputs("\\e", stdout);
        else if (*s == '-')
            fputs("\\-", stdout);
        else if (*s == '~')
            fputs("\\(ti", stdout);
        else if (*s == '^')
            fputs("\\(ha", stdout);
        else if (*s == '\n')
            fputs(s[1] == '.' || s[1] == '\'' ? "\n\\&" : "\n", stdout);
        else
            putchar(*s);
    }
}

static void line(const char *s)
{
    text(s);
    putchar('\n');
}

static void head(const char *name, int section, const char *what)
{
    printf(".\\\" Made by mkdoc from the tables of the programs.\n.TH ");
    for (const char *p = name; *p; p++)
        putchar(toupper((unsigned char)*p));
    printf(" %d \"\" \"Chasqui %s\" \"Chasqui\"\n.SH NAME\n%s \\- ", section, CHASQUI_VERSION, name);
    line(what);
}

/* An item of a list: its name in bold, what follows in the next lines. */
static void item(const char *name, const char *after)
{
    fputs(".TP\n\\fB", stdout);
    text(name);
    fputs("\\fR", stdout);
    text(after);
    putchar('\n');
}

static void see_also(const char *but)
{
    static const char *const all[] = {"chasqui.1",        "chasqui.conf.5",   "chasqui-metrics.7",
                                      "chasqui-api.7",    "chasqui-broker.8", "chasqui-dispatcher.8",
                                      "chasqui-healthd.8"};
    bool is_first = true;
    puts(".SH SEE ALSO");
    for (unsigned i = 0; i < N(all); i++) {
        const char *dot = strrchr(all[i], '.');
        if (strcmp(all[i], but) == 0)
            continue;
        printf("%s\\fB%.*s\\fR(%s)", is_first ? "" : ",\n", (int)(dot - all[i]), all[i], dot + 1);
        is_first = false;
    }
    putchar('\n');
}

static void conf_files(void)
{
    puts(".SH FILES");
    item("/etc/chasqui/chasqui.conf", "");
    line("The configuration, unless -c FILE, $CHASQUI_CONF or ./chasqui.conf is there. See chasqui.conf(5).");
    puts(".SH ENVIRONMENT");
    item("CHASQUI_SECTION_KEY", "");
    line("Every configuration key, before the file: CHASQUI_BROKER_HTTP is broker.http.");
}

/* ---- chasqui(1) --------------------------------------------------------------------------------------------- */

static void command_show(const struct command *c)
{
    struct buf words = {0}, usage = {0};
    buf_addf(&words, "%s%s%s", c->noun, *c->verb ? " " : "", c->verb);
    if (*c->usage)
        buf_addf(&usage, " %s", c->usage);
    item(words.data, usage.len ? usage.data : "");
    line(c->help);
    bool has_any = false;
    for (unsigned i = 0; i < N(options); i++)
        if (c->options & (UINT64_C(1) << i)) {
            if (!has_any)
                puts(".RS");
            has_any = true;
            printf(".TP\n\\fB\\-\\-");
            text(options[i].name);
            fputs("\\fR", stdout);
            if (options[i].argument)
                printf(" \\fI%s\\fR", options[i].argument);
            putchar('\n');
            line(option_help(c, i, options[i].help));
        }
    if (has_any)
        puts(".RE");
    buf_free(&words);
    buf_free(&usage);
}

static void examples_show(void)
{
    puts(".SH EXAMPLES");
    for (unsigned i = 0; i < N(examples); i++) {
        puts(".PP");
        line(examples[i].does);
        puts(".PP\n.RS 4\n.nf");
        line(examples[i].line);
        puts(".fi\n.RE");
    }
}

static void page_ctl(const struct page *p)
{
    head(p->name, p->section, p->line);
    puts(".SH SYNOPSIS\n.B chasqui\n[\\-c FILE] [\\-\\-json] \\fICOMMAND\\fR ...\n.SH DESCRIPTION");
    line(p->text);
    puts(".SH COMMANDS");
    for (unsigned i = 0; i < N(commands); i++)
        command_show(&commands[i]);
    puts(".SH OPTIONS");
    item("-c, --config", " FILE");
    line("The configuration.");
    item("--json", "");
    line("One JSON object on standard output.");
    item("-h, --help", "");
    line("What a command does; chasqui --help names them all.");
    item("--help-config", "");
    line("Every configuration key that this command reads.");
    puts(
        ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration. Of check: 0 well, 1 warning, 2 critical.");
    examples_show();
    conf_files();
    see_also("chasqui.1");
}

/* ---- the daemons -------------------------------------------------------------------------------------------- */

static void page_daemon(const struct page *p, unsigned owner)
{
    char file[64];
    head(p->name, p->section, p->line);
    fputs(".SH SYNOPSIS\n.B ", stdout);
    text(p->name);
    puts("\n[\\-c FILE] [\\-\\-check]\n.SH DESCRIPTION");
    line(p->text);
    puts(".SH OPTIONS");
    item("-c, --config", " FILE");
    line("The configuration.");
    item("--check", "");
    line("Read the configuration, say whether it is good, and stop.");
    item("-h, --help", "");
    line("Every configuration key that this program reads.");
    item("--version", "");
    line("The version.");
    puts(".SH CONFIGURATION\nReads these keys; chasqui.conf(5) says what they mean.\n.PP");
    for (unsigned i = 0; i < N(keys); i++)
        if (keys[i].owners & owner) {
            printf("%s.%s\n.br\n", keys[i].section, keys[i].key);
        }
    puts(".SH SIGNALS");
    item("SIGTERM, SIGINT", "");
    line("Drain and stop: nothing new is taken, what is under way ends. A second one stops at once.");
    puts(
        ".SH EXIT STATUS\n0 after a stop that was asked for, 1 when it could not start, 2 on wrong usage or a bad configuration.");
    conf_files();
    puts(
        ".SH DIAGNOSTICS\nOne fact a line on standard error, key=value, or an object a line with log.format = json.");
    snprintf(file, sizeof(file), "%s.8", p->name);
    see_also(file);
}

/* ---- chasqui.conf(5) ---------------------------------------------------------------------------------------- */

static void owners_show(unsigned owners)
{
    static const char *const names[] = {"broker", "dispatcher", "healthd", "chasqui"};
    fputs("Read by: ", stdout);
    for (unsigned i = 0, n = 0; i < N(names); i++)
        if (owners & (UINT64_C(1) << i))
            printf("%s%s", n++ ? ", " : "", names[i]);
    puts(".");
}

static void default_text(const struct key *k, char *out, size_t room)
{
    if (k->is_int)
        snprintf(out, room, " = %" PRId64 "%s%s (%" PRId64 " to %" PRId64 ")", k->def_int, *k->unit ? " " : "",
                 k->unit, k->min, k->max);
    else
        snprintf(out, room, " = %s", k->def ? k->def : "(none)");
}

static void page_conf(void)
{
    head("chasqui.conf", 5, "configuration of all Chasqui programs");
    puts(".SH DESCRIPTION");
    line("A section a line, its keys below it, indented by four spaces:");
    puts(".PP\n.nf\nbroker\n    http = \"127.0.0.1:8080\"\n    deadline_ms = 28000\n.fi\n.PP");
    line(
        "One file may serve all programs: each reads its own keys and skips those of others; an unknown key or a bad value stops the start "
        "with file, line and reason. Every key can also come by the environment, as CHASQUI_SECTION_KEY, which wins.");
    for (unsigned i = 0; i < N(keys); i++) {
        char name[80], def[300];
        if (!i || strcmp(keys[i].section, keys[i - 1].section) != 0) {
            fputs(".SH SECTION ", stdout);
            line(keys[i].section);
        }
        snprintf(name, sizeof(name), "%s.%s", keys[i].section, keys[i].key);
        default_text(&keys[i], def, sizeof(def));
        item(name, def);
        line(keys[i].help);
        owners_show(keys[i].owners);
    }
    puts(".SH SECTION actions");
    item("actions.NAME.method, path, session, timeout_ms, final_errors, portal_errors", "");
    line(
        "What the action NAME (portal.name) calls on a robot. session is create for a log-in, use for an action in a session. "
        "final_errors is a comma list of robots' errors that no second attempt mends (of a log-in bad_credentials, invalid_credentials, account_locked and "
        "unknown_company unless it says otherwise); portal_errors of those that mean that the portal itself is down (portal_unavailable, "
        "portal_maintenance, portal_timeout).");
    see_also("chasqui.conf.5");
}

/* ---- chasqui-metrics(7) ------------------------------------------------------------------------------------- */

static void stat_show(const struct stat_row *r, const char *labels)
{
    static const char *const kind[] = {
        [STAT_COUNTER] = "counter", [STAT_GAUGE] = "gauge", [STAT_HISTOGRAM] = "histogram"};
    struct buf name = {0}, after = {0};
    buf_addf(&name, "chasqui_%s", r->name);
    if (*labels)
        buf_addf(&after, "{%s}", labels);
    buf_addf(&after, " %s", kind[r->kind]);
    item(name.data, after.data);
    line(r->line);
    line(r->para);
    buf_free(&name);
    buf_free(&after);
}

static void page_metrics(void)
{
    head("chasqui-metrics", 7, "what Chasqui counts, and what it says is wrong");
    puts(".SH DESCRIPTION");
    line(
        "A broker exports these at /metrics of its operators' listener, its own and those that dispatchers and healthds tell it. "
        "GET /api/v1/ops/stats, chasqui stats and the dashboard show the same numbers. A company, a session or a job is never a label.");
    puts(".SH OF EACH PROCESS");
    for (unsigned i = 0; i < STAT_N; i++)
        stat_show(&stat_table[i], "process,name");
    puts(".SH TIMES");
    for (unsigned i = 0; i < HIST_N; i++)
        stat_show(&stat_hist_table[i], "process,name");
    puts(".SH BY LANE, ROUTE, ROBOT AND SO ON");
    for (unsigned i = 0; i < FAMILY_N; i++)
        stat_show(&stat_family_table[i], stat_family_table[i].labels);
    puts(".SH CLASSES OF ROBOTS' ERRORS");
    for (unsigned i = 0; i < N(faults); i++) {
        item(faults[i].name, "");
        line(faults[i].line);
    }
    puts(".SH WHAT IS WRONG, IN WORDS");
    line("The first thing that the page and chasqui stats say, and what to do about it.");
    for (unsigned i = 0; i < WORD_COUNT; i++) {
        const struct word_row *w = &word_table[i];
        char level[16];
        snprintf(level, sizeof(level), " (%s)", word_level_name[w->level]);
        item(w->code, level);
        line(w->text[ENGLISH]);
        if (*w->todo[ENGLISH])
            line(w->todo[ENGLISH]);
    }
    see_also("chasqui-metrics.7");
}

/* ---- chasqui-api(7) ----------------------------------------------------------------------------------------- */

static void routes_show(enum listener of)
{
    for (unsigned i = 0; i < N(routes); i++) {
        struct buf name = {0};
        unsigned a = routes[i].ability;
        if (routes[i].listener != of)
            continue;
        buf_addf(&name, "%s %s", routes[i].method, routes[i].path);
        item(name.data, a == ABILITY_APP        ? "  app"
                        : a == ABILITY_OPS_READ ? "  ops:read"
                        : a == ABILITY_OPS      ? "  ops"
                                                : "  no token");
        line(routes[i].doc);
        struct field_text f;
        for (unsigned k = 0; openapi_field(i, k, &f); k++) {
            printf(k ? "" : ".RS\n");
            printf(".TP\n\\fI");
            text(f.name);
            printf("\\fR  %s%s\n", f.where, f.is_needed ? "" : ", if wanted");
            line(f.doc);
        }
        if (openapi_field(i, 0, &f))
            puts(".RE");
        buf_free(&name);
    }
}

static void page_api(void)
{
    head("chasqui-api", 7, "Chasqui's HTTP API");
    puts(".SH DESCRIPTION");
    line(
        "JSON in, JSON out. Authorization: Bearer ID|SECRET; behind each route stands the ability that the token needs. {} stands for one part of the path.");
    puts(".SH AT broker.http");
    routes_show(LISTENER_APP);
    puts(".SH AT broker.ops");
    routes_show(LISTENER_OPS);
    puts(".SH ERRORS");
    for (unsigned i = 0; i < N(errors); i++) {
        char status[16];
        snprintf(status, sizeof(status), "  %d", errors[i].status);
        item(errors[i].code, status);
        line(errors[i].text);
    }
    see_also("chasqui-api.7");
}

static void openapi(void)
{
    struct buf text_of = {0};
    openapi_write(&text_of);
    puts(text_of.data);
    buf_free(&text_of);
}

/* ---- the sample configuration, and the completion ----------------------------------------------------------- */

static void sample(void)
{
    puts(
        "# Chasqui's configuration. Every key stands here with its default: take away the \"# \" of those that you change, and keep the\n"
        "# four spaces. chasqui.conf(5) says more.");
    for (unsigned i = 0; i < N(keys); i++) {
        const struct key *k = &keys[i];
        if (!i || strcmp(k->section, keys[i - 1].section) != 0)
            printf("\n%s\n", k->section);
        printf("\n    # %s\n", k->help);
        if (k->is_int)
            printf("    # %s = %" PRId64 "\n", k->key, k->def_int);
        else
            printf("    # %s = \"%s\"\n", k->key, k->def ? k->def : "");
    }
}

/* Behind an option: its values. */
static void values_show(void)
{
    for (unsigned i = 0; i < N(values); i++)
        if (*values[i].kind)
            printf("    --%s) _chasqui_names %s; return ;;\n", options[values[i].option].name, values[i].kind);
        else
            printf("    --%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n",
                   options[values[i].option].name, values[i].words);
    fputs("    --company", stdout); /* any other option that takes a value: nothing is known of it */
    for (unsigned i = 0; i < N(options); i++) {
        bool is_known = !options[i].argument || strcmp(options[i].name, "company") == 0 ||
                        strcmp(options[i].name, "file") == 0 || strcmp(options[i].name, "credentials") == 0;
        for (unsigned k = 0; k < N(values) && !is_known; k++)
            is_known = values[k].option == (enum option_id)i;
        if (!is_known)
            printf(" | --%s", options[i].name);
    }
    puts(") return ;;");
}

/* The first word of a command that takes a name. */
static void words_show(void)
{
    static const struct {
        const char *noun, *kind;
    } kinds[] = {{"worker", "workers"}, {"batch", "batches"}, {"sessions", "sessions"}, {"jobs", "jobs"}};
    for (unsigned i = 0; i < N(commands); i++)
        for (unsigned k = 0; k < N(kinds); k++) {
            const struct command *c = &commands[i];
            bool is_name = strncmp(c->usage, "NAME", 4) == 0 || strncmp(c->usage, "ID", 2) == 0;
            if (is_name && strcmp(kinds[k].noun, c->noun) == 0 && strcmp(c->verb, "add") != 0)
                printf("        \"%s %s\") _chasqui_names %s; return ;;\n", c->noun, c->verb, kinds[k].kind);
        }
    puts(
        "        \"names \") COMPREPLY=($(compgen -W \"workers batches sessions jobs portals actions\" -- \"$cur\")); return ;;");
}

static void completion(void)
{
    puts(
        "# Completion of chasqui for bash; made by mkdoc from the command's tables.\n"
        "# Names come from robots and callers, too: each is compared and never expanded, and one that a shell would obey is left out.\n"
        "_chasqui_names()\n{\n    local name\n    while read -r name; do\n        if [[ \"$name\" == \"$cur\"* && \"$name\" != *[^A-Za-z0-9._:@=-]* ]]; then COMPREPLY+=(\"$name\"); fi\n"
        "    done < <(\"${COMP_WORDS[0]}\" \"${conf[@]}\" names \"$1\" 2>/dev/null)\n}\n"
        "_chasqui()\n{\n    local cur=\"${COMP_WORDS[COMP_CWORD]}\" noun=\"\" verb=\"\" word i n=0\n    local -a conf=()\n    COMPREPLY=()\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n        word=\"${COMP_WORDS[i]}\"\n        case \"$word\" in\n"
        "        -c | --config) ((i++)); conf=(-c \"${COMP_WORDS[i]}\") ;;");
    fputs("        --*=* | -h | --json | --help", stdout);
    for (unsigned i = 0; i < N(options); i++)
        if (!options[i].argument)
            printf(" | --%s", options[i].name);
    puts(
        ") ;;\n        -*) ((i++)) ;;\n"
        "        *) if [ -z \"$noun\" ]; then noun=\"$word\"; elif [ -z \"$verb\" ]; then verb=\"$word\"; else ((n++)); fi ;;\n        esac\n    done\n"
        "    case \"${COMP_WORDS[COMP_CWORD - 1]}\" in\n    -c | --config | --file | --credentials) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
    values_show();
    puts("    esac\n    if [ $n = 0 ] && [[ \"$cur\" != -* ]]; then\n        case \"$noun $verb\" in");
    words_show();
    puts("        esac\n    fi\n"
         "    local common=\"--config --json --help\" words=\"\"\n    case \"$noun $verb\" in");
    fputs("    \" \") words=\"", stdout);
    for (unsigned i = 0; i < N(commands); i++)
        if (!i || strcmp(commands[i].noun, commands[i - 1].noun) != 0)
            printf("%s ", commands[i].noun);
    puts("--help-config --version\" ;;");
    for (unsigned i = 0; i < N(commands); i++) {
        const struct command *c = &commands[i];
        bool is_first = !i || strcmp(c->noun, commands[i - 1].noun) != 0;
        if (is_first && *c->verb) {
            printf("    \"%s \") words=\"", c->noun);
            for (unsigned k = i; k < N(commands) && strcmp(commands[k].noun, c->noun) == 0; k++)
                printf("%s%s", k == i ? "" : " ", commands[k].verb);
            puts("\" ;;");
        }
        printf("    \"%s %s\"%s) words=\"", c->noun, c->verb, *c->verb ? "*" : "");
        for (unsigned k = 0, n = 0; k < N(options); k++)
            if (c->options & (UINT64_C(1) << k))
                printf("%s--%s", n++ ? " " : "", options[k].name);
        puts("\" ;;");
    }
    puts("    esac\n    COMPREPLY=($(compgen -W \"$words $common\" -- \"$cur\"))\n"
         "    if [ \"$noun $verb\" = \"batch submit\" ]; then COMPREPLY+=($(compgen -f -- \"$cur\")); fi\n}\n"
         "complete -o filenames -F _chasqui chasqui");
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    static const struct {
        const char *name;
        void (*make)(void);
    } others[] = {{"chasqui.conf.5", page_conf}, {"chasqui-metrics.7", page_metrics}, {"chasqui-api.7", page_api},
                  {"chasqui.conf", sample},      {"completion", completion},          {"openapi.json", openapi}};
    static const unsigned owner[] = {CONF_CTL, CONF_BROKER, CONF_DISPATCHER, CONF_HEALTHD}; /* of pages[] */
    for (unsigned i = 0; i < N(pages); i++) {
        char file[64];
        snprintf(file, sizeof(file), "%s.%d", pages[i].name, pages[i].section);
        if (strcmp(file, what) == 0) {
            if (pages[i].section == 1)
                page_ctl(&pages[i]);
            else
                page_daemon(&pages[i], owner[i]);
            return EXIT_SUCCESS;
        }
    }
    for (unsigned i = 0; i < N(others); i++)
        if (strcmp(others[i].name, what) == 0) {
            others[i].make();
            return EXIT_SUCCESS;
        }
    fprintf(stderr, "mkdoc: there is no page %s\n", what);
    return EXIT_FAILURE;
}
