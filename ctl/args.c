/* SPDX-License-Identifier: MIT */
/* args.c - getopt_long over option.def; options may stand anywhere on the line. */
#include "ctl/args.h"

#include "common/check.h"
#include "common/url.h"
#include "ctl/ctl.h"
#include "ctl/nearest.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PORTAL_BYTES_MAX 64
#define NAME_BYTES_MAX 64
#define CALLBACK_BYTES_MAX 500
#define PRIORITY_DEFAULT 5

const struct option_row option_table[OPT_COUNT] = {
#define OPTION(symbol, name, argument, help) [OPT_##symbol] = {name, argument, help},
#include "ctl/option.def"
#undef OPTION
};

enum { VAL_JSON = 1000, VAL_HELP_CONF, VAL_VERSION, VAL_OPTION };

static void options_make(struct option *out)
{
    static const struct option common[] = {
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, VAL_JSON},
        {"help", no_argument, NULL, 'h'},
        {"help-config", no_argument, NULL, VAL_HELP_CONF},
        {"version", no_argument, NULL, VAL_VERSION},
    };
    unsigned n = sizeof(common) / sizeof(*common);
    memcpy(out, common, sizeof(common));
    for (unsigned i = 0; i < OPT_COUNT; i++)
        out[n++] =
            (struct option){option_table[i].name, option_table[i].argument ? required_argument : no_argument, NULL,
                            VAL_OPTION + (int)i};
    memset(&out[n], 0, sizeof(out[n]));
}

static void take(struct args *a, unsigned id, const char *value, int most)
{
    if (!a->value[id])
        a->value[id] = xcalloc((unsigned long)most, sizeof(*a->value[id]));
    a->value[id][a->n[id]++] = value ? value : "";
}

/* The command that a line with a mistake is about, as far as its words tell; NULL = any. */
static const struct command *command_meant(int argc, char **argv)
{
    const char *noun = NULL;
    for (int i = 1; i < argc; i++)
        for (unsigned k = 0; k < command_count; k++) {
            const struct command *cmd = &command_table[k];
            if (!noun && strcmp(cmd->noun, argv[i]) == 0)
                noun = cmd->noun;
            if (noun && strcmp(cmd->noun, noun) == 0 && strcmp(cmd->verb, *cmd->verb ? argv[i] : "") == 0)
                return cmd;
        }
    return NULL;
}

/* An option of that command whose name is like the one that was typed; NULL = none. */
static const char *option_meant(const struct command *cmd, const char *typed)
{
    static const char *const common[] = {"config", "json", "help", "help-config", "version"};
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(typed, "="), typed);
    struct nearest n = {.typed = name};
    for (unsigned i = 0; i < OPT_COUNT; i++)
        if (!cmd || cmd->options & (UINT64_C(1) << i))
            nearest_offer(&n, option_table[i].name);
    for (unsigned i = 0; i < sizeof(common) / sizeof(*common); i++)
        nearest_offer(&n, common[i]);
    return n.best;
}

static void option_unknown(struct ctl *c, int argc, char **argv)
{
    const char *typed = argv[optind - 1];
    int len = (int)strcspn(typed, "=");
    const char *best = strncmp(typed, "--", 2) == 0 ? option_meant(command_meant(argc, argv), typed + 2) : NULL;
    if (best)
        ctl_usage(c, "there is no option %.*s; did you mean --%s?", len, typed, best);
    else
        ctl_usage(c, "there is no option %.*s", len, typed);
}

bool args_read(struct ctl *c, int argc, char **argv)
{
    struct args *a = &c->args;
    struct option options[OPT_COUNT + 6];
    options_make(options);
    opterr = 0;
    /* --json counts in any position, also behind a mistake: programs read the answer. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        a->json |= strcmp(argv[i], "--json") == 0;
    for (int opt; (opt = getopt_long(argc, argv, ":c:h", options, NULL)) != -1;) {
        switch (opt) {
        case 'c':
            a->conf_path = optarg;
            break;
        case 'h':
            a->help = true;
            break;
        case VAL_JSON:
            a->json = true;
            break;
        case VAL_HELP_CONF:
            a->help_conf = true;
            break;
        case VAL_VERSION:
            a->version = true;
            break;
        case ':':
            ctl_usage(c, "%s needs a value behind it", argv[optind - 1]);
            return false;
        case '?':
            if (optopt >= VAL_JSON)
                ctl_usage(c, "%.*s takes no value", (int)strcspn(argv[optind - 1], "="), argv[optind - 1]);
            else if (optopt)
                ctl_usage(c, "there is no option -%c", optopt);
            else
                option_unknown(c, argc, argv);
            return false;
        default:
            take(a, (unsigned)(opt - VAL_OPTION), optarg, argc);
        }
    }
    a->word = argv + optind;
    a->n_words = (unsigned)(argc - optind);
    return true;
}

void args_free(struct args *a)
{
    for (unsigned i = 0; i < OPT_COUNT; i++)
        free(a->value[i]);
    memset(a, 0, sizeof(*a));
}

const char *args_value(const struct args *a, enum option_id id)
{
    return a->n[id] ? a->value[id][0] : NULL;
}

/* ---- values ------------------------------------------------------------------------------------------------- */

static bool is_decimal(const char *s)
{
    size_t len = strlen(s);
    return len >= 1 && len <= 19 && strspn(s, "0123456789") == len && (len == 1 || s[0] != '0');
}

bool args_number(struct ctl *c, const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    if (is_decimal(text)) {
        *out = strtoull(text, NULL, 10);
        if (*out >= least && *out <= most)
            return true;
    }
    ctl_usage(c, "%s must be a whole number of %llu to %llu", what, (unsigned long long)least,
              (unsigned long long)most);
    return false;
}

bool args_company(struct ctl *c, uint64_t *out)
{
    const char *text = args_value(&c->args, OPT_COMPANY);
    if (!text) {
        ctl_usage(c, "--company is missing");
        return false;
    }
    return args_number(c, "--company", text, 1, INT64_MAX, out);
}

bool args_priority(struct ctl *c, uint64_t *out)
{
    const char *text = args_value(&c->args, OPT_PRIORITY);
    *out = PRIORITY_DEFAULT;
    return !text || args_number(c, "--priority", text, 0, 9, out);
}

static bool is_word(const char *s, size_t most, const char *more)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr(more, s[i]))
            return false;
    return len >= 1 && len <= most;
}

bool args_portal_ok(struct ctl *c, const char *portal)
{
    if (is_word(portal, PORTAL_BYTES_MAX, "_-"))
        return true;
    ctl_usage(c, "--portal must be 1 to %d letters, digits, '_' or '-'", PORTAL_BYTES_MAX);
    return false;
}

bool args_portal(struct ctl *c, const char **out)
{
    *out = args_value(&c->args, OPT_PORTAL);
    if (!*out) {
        ctl_usage(c, "--portal is missing");
        return false;
    }
    return args_portal_ok(c, *out);
}

bool args_action(struct ctl *c, const char *portal, const char **out)
{
    const char *action = *out = args_value(&c->args, OPT_ACTION);
    size_t len = strlen(portal);
    if (!action)
        ctl_usage(c, "--action is missing");
    else if (!is_word(action, NAME_BYTES_MAX, "_.-"))
        ctl_usage(c, "--action must be 1 to %d letters, digits, '_', '.' or '-'", NAME_BYTES_MAX);
    else if (strncmp(action, portal, len) != 0 || action[len] != '.')
        ctl_usage(c, "--action must begin with its portal: %.64s.", portal);
    else
        return true;
    return false;
}

bool args_callback_url(struct ctl *c, const char **out)
{
    const char *url = *out = args_value(&c->args, OPT_CALLBACK_URL);
    if (!url || (strlen(url) <= CALLBACK_BYTES_MAX && url_is_allowed("http://,https://", url)))
        return true;
    ctl_usage(c, "--callback-url must be an http or https URL of up to %d characters", CALLBACK_BYTES_MAX);
    return false;
}

bool args_name(struct ctl *c, const char *whose, const char *name)
{
    if (is_word(name, NAME_BYTES_MAX, "_.-"))
        return true;
    ctl_usage(c, "%s is 1 to %d letters, digits, '.', '_' or '-'", whose, NAME_BYTES_MAX);
    return false;
}

bool args_worker_name(struct ctl *c, const char *name)
{
    return args_name(c, "a robot's name", name);
}

bool args_url(struct ctl *c, enum option_id id, char *out, size_t room)
{
    const char *given = args_value(&c->args, id), *why = "";
    if (!given || url_normalise(given, out, room, &why))
        return true;
    ctl_usage(c, "--%s is not a URL that can be used: %s", option_table[id].name, why);
    return false;
}

bool args_duration(struct ctl *c, const char *what, const char *text, unsigned most_days, uint64_t *seconds)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}};
    char digits[16] = "";
    size_t len = strlen(text);
    if (len >= 2 && len <= 8) {
        memcpy(digits, text, len - 1);
        uint64_t n = is_decimal(digits) ? strtoull(digits, NULL, 10) : 0;
        for (unsigned i = 0; i < sizeof(units) / sizeof(*units); i++)
            if (text[len - 1] == units[i].letter && n && n * units[i].seconds <= most_days * 86400ull) {
                *seconds = n * units[i].seconds;
                return true;
            }
    }
    ctl_usage(c, "%s must be a number of minutes, hours or days, like 30m, 12h or 90d, up to %ud", what,
              most_days);
    return false;
}

bool args_status(struct ctl *c)
{
    static const char *const statuses[] = {"queued", "running", "retrying", "done", "failed", "cancelled"};
    const char *status = args_value(&c->args, OPT_STATUS);
    for (unsigned i = 0; status && i < sizeof(statuses) / sizeof(*statuses); i++)
        if (strcmp(status, statuses[i]) == 0)
            return true;
    if (!status)
        return true;
    ctl_usage(c, "--status must be queued, running, retrying, done, failed or cancelled");
    return false;
}

bool args_errors(struct ctl *c)
{
    const char *error = args_value(&c->args, OPT_ERROR), *robot_error = args_value(&c->args, OPT_ROBOT_ERROR);
    if (error && (!*error || strlen(error) > 64 || strspn(error, "abcdefghijklmnopqrstuvwxyz_") != strlen(error)))
        return ctl_usage(c, "--error must be an error code, such as robot_error"), false;
    if (robot_error && (!*robot_error || strlen(robot_error) > 256))
        return ctl_usage(c, "--robot-error must be 1 to 256 bytes"), false;
    return true;
}

bool args_reason(struct ctl *c, const char **out)
{
    *out = args_value(&c->args, OPT_REASON);
    if (!*out || (**out && strlen(*out) <= REASON_BYTES_MAX))
        return true;
    ctl_usage(c, "--reason must be 1 to %d bytes", REASON_BYTES_MAX);
    return false;
}
