/* SPDX-License-Identifier: MIT */
/*
 * download.h - streams a file from the session's robot to the broker. Also streams other answers of a robot to a
 * request that is passed on to it (pass.h).
 */
#ifndef CHASQUI_DISPATCHER_DOWNLOAD_H
#define CHASQUI_DISPATCHER_DOWNLOAD_H

#include "dispatcher/dispatcher.h"

void download_start(struct dispatcher *d, struct request *r);

#endif
