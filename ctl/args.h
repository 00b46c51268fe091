/* SPDX-License-Identifier: MIT */
/*
 * args.h - the command line: words, options (option.def), and the values that
 * several commands take. Every value is checked here, before anything is done.
 */
#ifndef CHASQUI_CTL_ARGS_H
#define CHASQUI_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl;

#define REASON_BYTES_MAX 200

enum option_id {
#define OPTION(symbol, name, argument, help) OPT_##symbol,
#include "ctl/option.def"
#undef OPTION
    OPT_COUNT
};
#define OPT_BIT(symbol) (UINT64_C(1) << OPT_##symbol)

#define AHEAD_DAYS_MAX 366 /* how far ahead the API takes a time: 31,622,400 s */

struct option_row {
    const char *name, *argument, *help;
};
extern const struct option_row option_table[OPT_COUNT];

struct args {
    const char *conf_path; /* -c; NULL = not given */
    bool json, help, help_conf, version;
    unsigned n_words;
    char **word;                   /* noun, verb, and what follows; borrowed from argv */
    const char **value[OPT_COUNT]; /* as often as given, in order; owned */
    unsigned n[OPT_COUNT];
    /* the value of what was typed in words: the number of a batch, and times in UTC */
    char batch[24], since[32], until[32];
};

/* Sorts argv into args. false after saying what is wrong. */
bool args_read(struct ctl *c, int argc, char **argv);
void args_free(struct args *a);
/* The only value of an option, NULL when it was not given. */
const char *args_value(const struct args *a, enum option_id id);

/* Each reads one value; false after saying, as a usage error, what it must be. */
bool args_number(struct ctl *c, const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out);
bool args_company(struct ctl *c, uint64_t *out);   /* --company, required */
bool args_portal(struct ctl *c, const char **out); /* --portal, required */
bool args_portal_ok(struct ctl *c, const char *portal);
bool args_name(struct ctl *c, const char *whose, const char *name);
bool args_worker_name(struct ctl *c, const char *name);
/* A URL that was given, normalised; an option that was not leaves `out` as it is. */
bool args_url(struct ctl *c, enum option_id id, char *out, size_t room);
bool args_duration(struct ctl *c, const char *what, const char *text, unsigned most_days,
                   uint64_t *seconds);                                 /* 30m, 12h, 90d */
bool args_priority(struct ctl *c, uint64_t *out);                      /* --priority, or its default */
bool args_action(struct ctl *c, const char *portal, const char **out); /* --action, required, of that portal */
bool args_callback_url(struct ctl *c, const char **out);               /* --callback-url, NULL when not given */
bool args_status(struct ctl *c);                   /* --status is one of a job's, or not given */
bool args_errors(struct ctl *c);                   /* --error and --robot-error, or not given */
bool args_reason(struct ctl *c, const char **out); /* --reason, NULL when not given */

#endif
