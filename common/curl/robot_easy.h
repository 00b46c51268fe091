/* SPDX-License-Identifier: MIT */
/*
 * robot_easy.h - the common settings of every curl easy handle that calls a robot, in the dispatcher and in
 * healthd.
 */
#ifndef CHASQUI_ROBOT_EASY_H
#define CHASQUI_ROBOT_EASY_H

#include "common/conf.h"

#include <curl/curl.h>

/* Allows http and https only: no redirect, proxy, netrc or HTTP/0.9, no name look-up by curl. Called once per
 * handle, and after curl_easy_reset(). */
void easy_prepare(CURL *easy);
/* Sets the trusted CAs and our own certificate for robots: robot.ca_file, robot.cert_file, robot.key_file. */
void easy_prepare_tls(CURL *easy, const struct conf *conf);
/* Reads the host and port of a URL whose host is a name; the caller frees them. Both are NULL when the host is an
 * address, or curl cannot read the URL. */
void easy_named_host(CURLU *url, char **host, char **port);

#endif
