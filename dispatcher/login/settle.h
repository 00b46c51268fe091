/* SPDX-License-Identifier: MIT */
/* settle.h - finds out whether the robot opened a session, for log-ins with an unknown outcome. */
#ifndef CHASQUI_DISPATCHER_SETTLE_H
#define CHASQUI_DISPATCHER_SETTLE_H

#include "dispatcher/dispatcher.h"

/* Settles a log-in with an unknown outcome, whatever the cause (timeout, reset, rescue), and then finishes the
 * job: done when the robot has the session, failed with `error` after the fence. Owns the lease from now on. */
struct settle_in {
    uint64_t job_id, session_ref, epoch, company_id;
    uint32_t robot_id;
    bool migrating;
    char portal[PORTAL_ROOM], job_uid[ID_JOB_UID_BYTES], boot_id[65];
    struct lease lease;
    int64_t limit_left_ms;
    enum err error;
    char message[256];
    struct buf remember; /* sealed credentials to store on success; taken over */
    struct queued item;
    bool cancelled; /* the job is to stop */
};
void settle_login(struct dispatcher *d, struct settle_in *in); /* takes ownership of `in` (malloc'ed) */
/* Of a job of a dispatcher that died. */
struct settle_in *settle_in_of(const struct rescued *job, const struct lease *lease);
void settle_rescued(struct dispatcher *d, struct rescued *job,
                    const struct lease *lease); /* as settle_login, for a log-in of a dispatcher that died */
unsigned settles_running(const struct dispatcher *d);

#endif
