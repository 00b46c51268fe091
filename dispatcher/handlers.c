/* SPDX-License-Identifier: MIT */
/*
 * handlers.c - which function answers which operation of the wire (proto/op.def).
 */
#include "dispatcher/handlers.h"
#include "dispatcher/login/credentials.h"
#include "dispatcher/login/execute.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/login/refused.h"
#include "dispatcher/ops/bulk.h"
#include "dispatcher/ops/control.h"
#include "dispatcher/ops/doctor.h"
#include "dispatcher/ops/job.h"
#include "dispatcher/ops/look_back.h"
#include "dispatcher/ops/queue_state.h"
#include "dispatcher/ops/summary.h"
#include "dispatcher/ops/tokens.h"
#include "dispatcher/ops/verify.h"
#include "dispatcher/ops/worker.h"
#include "dispatcher/queue/alerts_ops.h"
#include "dispatcher/queue/batch.h"
#include "dispatcher/queue/enqueue.h"
#include "dispatcher/queue/results.h"
#include "dispatcher/queue/schedule_ops.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/session/action.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/download.h"
#include "dispatcher/session/list.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

static void (*const handlers[OP_COUNT])(struct dispatcher *d, struct request *r) = {
    [OP_TOKEN_VERIFY] = verify_start,
    [OP_JOB_GET] = job_start,
    [OP_JOB_AWAIT] = job_wait,
    [OP_SESSION_ACTIVE] = control_start,
    [OP_SESSION_GET] = control_start,
    [OP_SESSION_CLOSE] = close_start,
    [OP_BUZON_LIST] = list_start,
    [OP_BUZON_DOWNLOAD] = download_start,
    [OP_EXECUTE_ACTION] = action_start,
    [OP_EXECUTE_LOGIN] = login_start,
    [OP_EXECUTE_QUEUED] = enqueue_start,
    [OP_OPS_SESSIONS] = control_start,
    [OP_OPS_WORKERS] = control_start,
    [OP_OPS_WORKER_WANT] = control_start,
    [OP_OPS_SESSION_CLOSE] = close_start,
    [OP_OPS_SESSION_MIGRATE] = migrate_start,
    [OP_OPS_DOCTOR] = doctor_start,
    [OP_OPS_SUMMARY] = summary_start,
    [OP_BATCH_OPEN] = batch_start,
    [OP_BATCH_BODY] = batch_start,
    [OP_BATCH_CLOSE] = batch_start,
    [OP_BATCH_GET] = batch_start,
    [OP_BATCH_ITEMS] = batch_start,
    [OP_BATCH_RESULTS] = results_start,
    [OP_OPS_BATCH_PRIORITY] = batch_start,
    [OP_BATCH_CANCEL] = batch_start,
    [OP_OPS_BATCHES] = batch_start,
    [OP_OPS_JOBS_COUNT] = bulk_start,
    [OP_OPS_JOBS_BULK] = bulk_start,
    [OP_JOBS] = job_start,
    [OP_JOB_CANCEL] = job_start,
    [OP_OPS_JOBS] = job_start,
    [OP_OPS_JOB_GET] = job_start,
    [OP_OPS_JOB_WHY] = job_start,
    [OP_OPS_COMPANY] = job_start,
    [OP_OPS_JOB_RETRY] = job_start,
    [OP_OPS_JOB_CANCEL] = job_start,
    [OP_OPS_AUDIT] = look_back_start,
    [OP_OPS_ERRORS] = look_back_start,
    [OP_OPS_HISTORY] = look_back_start,
    [OP_OPS_WORKER_ADD] = worker_start,
    [OP_OPS_WORKER_SET] = worker_start,
    [OP_OPS_QUEUE] = queue_state_start,
    [OP_OPS_QUEUE_PAUSE] = queue_state_start,
    [OP_OPS_QUEUE_RESUME] = queue_state_start,
    [OP_SESSION_TOUCH] = control_start,
    [OP_CREDENTIALS_SET] = credentials_start,
    [OP_CREDENTIALS_REMOVE] = credentials_start,
    [OP_OPS_TOKENS] = tokens_start,
    [OP_OPS_TOKEN_CREATE] = tokens_start,
    [OP_OPS_TOKEN_REVOKE] = tokens_start,
    [OP_OPS_PORTALS] = queue_state_start,
    [OP_ROBOT_PASS] = download_start,
    [OP_OPS_REFUSED] = refused_start,
    [OP_OPS_REFUSED_LIFT] = refused_start,
    [OP_OPS_SCHEDULES] = schedules_start,
    [OP_OPS_SCHEDULE_SET] = schedules_start,
    [OP_OPS_ALERTS_SAID] = alerts_ops_start,
    [OP_OPS_ALERTS] = alerts_ops_start,
    [OP_OPS_ALERT_SET] = alerts_ops_start,
    [OP_OPS_ALERTS_TEST] = alerts_ops_start,
};

/* Reads the database in the name of a token, as opposed to what a broker asks for itself and what waits for a job. */
static bool is_question(const struct request *r)
{
    return r->lane == LANE_CONTROL && r->op != OP_TOKEN_VERIFY && r->op != OP_JOB_AWAIT &&
           r->op != OP_OPS_SUMMARY && r->op != OP_OPS_ALERTS_SAID;
}

void handlers_check(void)
{
    for (unsigned op = 0; op < OP_COUNT; op++)
        CHECK(handlers[op], "nobody handles %s", op_table[op].name);
}

void handler_call(struct dispatcher *d, struct request *r)
{
    if (!is_question(r) || bulkhead_database(d, r, r->token_id, handlers[r->op]))
        handlers[r->op](d, r);
}
