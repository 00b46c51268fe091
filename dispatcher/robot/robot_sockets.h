/* SPDX-License-Identifier: MIT */
/*
 * robot_sockets.h - the connections that curl keeps to robots, in our loop; and that nobody gets an answer that was not for him.
 *
 * The CURLOPT_PRIVATE of an easy handle is its socket_user: sockets_prepare() sets it.
 */
#ifndef CHASQUI_ROBOT_SOCKETS_H
#define CHASQUI_ROBOT_SOCKETS_H

#include "common/loop.h"
#include "dispatcher/robot/networks.h"

#include <curl/curl.h>
#include <stdbool.h>

struct robot_sockets;
struct socket; /* of robot_sockets.c */

struct socket_user { /* in a call; zeroed is ready for use */
    void *owner;     /* the caller's, for whoever has the easy handle only */
    struct robot_sockets *sockets;
    CURL *easy;
    struct socket *socket; /* of its connection, NULL = not known */
    /* something came on the kept connection before the request went out: the call ended without having sent anything */
    bool is_stale;
};

/* Puts the multi handle's sockets into the loop. `acted` is called after each curl_multi_socket_action() that a socket caused: calls may have
 * ended. `networks` (borrowed) are those that robots may be in. */
struct robot_sockets *sockets_new(struct loop *l, CURLM *multi, const struct networks *networks,
                                  void (*acted)(void *arg), void *arg);
/* After curl_multi_cleanup(), which closes them. */
void sockets_destroy(struct robot_sockets **sp);
/* For an easy handle that was made, or reset: where its connections come from and what is looked at before each request. */
void sockets_prepare(struct robot_sockets *s, struct socket_user *u, CURL *easy, void *owner);
/* This handle's calls go elsewhere than to robots: their own door decides where. After sockets_prepare(). */
void sockets_allow_any(struct socket_user *u);
/* The call has its connection no more. */
void socket_leave(struct socket_user *u);

#endif
