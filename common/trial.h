/* SPDX-License-Identifier: MIT */
/*
 * trial.h - `--check` of a daemon: opens what the daemon would open, as the user of its unit, reports each in one
 * line, and closes it.
 *
 * Successes are reported on standard output. Failures are reported on standard error, or in the log by the part
 * that opens.
 */
#ifndef CHASQUI_TRIAL_H
#define CHASQUI_TRIAL_H

#include "common/conf.h"
#include <stdbool.h>

/* Root becomes the user chasqui-<program>, if it exists, with no more rights than the unit grants; any other user
 * stays. `conf` was read before, because systemd also reads a unit's LoadCredential files as root. Returns false
 * when the change failed, or when that user cannot read the configuration file. */
bool trial_user(const char *program, const struct conf *conf);
/* Tries the pair of `role`, the servers' public keys and the allow-list of curve.dir. */
bool trial_keys(const struct conf *conf, const char *role);
/* Tries to bind every address of a comma list, "host:port" or a ZeroMQ endpoint. An address in use is good,
 * because the daemon itself may be running. `key` is its name in the configuration. */
bool trial_bind(const char *key, const char *list);
/* Reports that `what` is good, or why not. Returns is_good. */
bool trial_told(bool is_good, const char *what, const char *detail);

#endif
