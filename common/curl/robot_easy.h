/* SPDX-License-Identifier: MIT */
/*
 * robot_easy.h - what every easy handle of curl has that calls a robot, in the dispatcher and in healthd.
 */
#ifndef CHASQUI_ROBOT_EASY_H
#define CHASQUI_ROBOT_EASY_H

#include "common/conf.h"

#include <curl/curl.h>

/* http and https only, no redirect, proxy, netrc or HTTP/0.9, no look-up of curl's own. Once for a handle, or after curl_easy_reset(). */
void easy_prepare(CURL *easy);
/* Whom we believe and who we are, with robots: robot.ca_file, robot.cert_file, robot.key_file. */
void easy_prepare_tls(CURL *easy, const struct conf *conf);
/* The host and port of a URL whose host is a name, to be freed; both NULL when it is an address, or curl cannot read the URL. */
void easy_named_host(CURLU *url, char **host, char **port);

#endif
