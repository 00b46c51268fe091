/* SPDX-License-Identifier: MIT */
/*
 * trial.h - `--check` of a daemon: what it would open is opened as the user of its unit, told in a line each, and closed.
 *
 * What is good is told on standard output, what is not on standard error, or in the log by the part that opens it.
 */
#ifndef CHASQUI_TRIAL_H
#define CHASQUI_TRIAL_H

#include "common/conf.h"
#include <stdbool.h>

/* Root becomes the user chasqui-<program>, if there is one, with no more rights than the unit gives; anybody else stays.
 * `conf` was read before, since systemd reads what a unit gets by LoadCredential as root too. False: the change failed, or that
 * user cannot read the file of the configuration. */
bool trial_user(const char *program, const struct conf *conf);
/* The pair of `role`, the servers' public keys and the allow-list of curve.dir. */
bool trial_keys(const struct conf *conf, const char *role);
/* Every address of a comma list, "host:port" or a ZeroMQ endpoint, can be bound. One that is in use is good: the daemon itself may
 * run. `key` is what the configuration calls it. */
bool trial_bind(const char *key, const char *list);
/* Says that `what` is good, or why not; passes is_good on. */
bool trial_told(bool is_good, const char *what, const char *detail);

#endif
