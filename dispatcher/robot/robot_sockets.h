/* SPDX-License-Identifier: MIT */
/*
 * robot_sockets.h - curl's kept connections to robots, in our loop. Ensures that no call gets an answer meant for
 * another.
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
struct socket; /* defined in robot_sockets.c */

struct socket_user { /* part of a call; zero-initialised = ready for use */
    void *owner;     /* owned by the caller; for code that has only the easy handle */
    struct robot_sockets *sockets;
    CURL *easy;
    struct socket *socket; /* its connection, NULL = unknown */
    uint64_t *hasty_ms;    /* when the call's robot closed a connection early, 0 = never; NULL = not recorded */
    /* The request must not be sent twice. It goes on no kept connection that the robot may be closing now. is_begun:
     * curl was allowed to send it, and is given no other connection; is_spent tells that curl wanted one. */
    bool is_once, is_begun, is_spent;
    /* The kept connection may not be used: bytes arrived on it, or is_once forbids it. The call ended without sending
     * anything. */
    bool is_stale;
};

/* Puts the multi handle's sockets into the loop. `acted` is called after each curl_multi_socket_action() caused by
 * a socket: calls may have ended. `networks` (borrowed) are the allowed networks of robots. */
struct robot_sockets *sockets_new(struct loop *l, CURLM *multi, const struct networks *networks,
                                  void (*acted)(void *arg), void *arg);
/* Call after curl_multi_cleanup(), which closes them. */
void sockets_destroy(struct robot_sockets **sp);
/* Prepares an easy handle that is new or was reset: the origin of its connections, and the check before each
 * request. */
void sockets_prepare(struct robot_sockets *s, struct socket_user *u, CURL *easy, void *owner);
/* This handle's calls go to hosts other than robots; their own check decides which. Call after
 * sockets_prepare(). */
void sockets_allow_any(struct socket_user *u);
/* Whether the robot has lately closed a connection within 750 ms of its last answer, or under a request: what must
 * be sent once does not go on a kept one of its. */
bool socket_is_hasty(const struct socket_user *u);
/* The call no longer has its connection. */
void socket_leave(struct socket_user *u);

#endif
