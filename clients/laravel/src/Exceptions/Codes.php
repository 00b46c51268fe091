<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

use Illuminate\Http\Client\Response;
use Throwable;

/** Each code of Chasqui's errors: its exception, and what to do about it. */
final class Codes
{
    public const ALL = [
        'bad_request' => [RequestRefused::class, 'Send well-formed JSON in UTF-8.'],
        'unauthenticated' => [Unauthenticated::class, 'Set CHASQUI_TOKEN to a token of "chasqui token create", or log in again.'],
        'forbidden' => [Forbidden::class, 'Use a token with the ability "app".'],
        'company_forbidden' => [Forbidden::class, 'Use a token of this company, or one for all companies.'],
        'not_found' => [RequestRefused::class, 'Check CHASQUI_URL and the path; robot.pass names what goes to robots.'],
        'session_not_found' => [NotFound::class, 'Log the company in.'],
        'job_not_found' => [NotFound::class, 'Check the id, and whose token asks.'],
        'batch_not_found' => [NotFound::class, 'Check the id, and whose token asks.'],
        'file_not_found' => [NotFound::class, 'List the mailbox again: its file tokens hold for one session.'],
        'method_not_allowed' => [RequestRefused::class, 'Use one of the methods of the Allow header.'],
        'wrong_state' => [Conflict::class, 'Ask for the state, and again in a moment.'],
        'login_in_progress' => [LoginInProgress::class, 'Ask for the active session, or for the job of jobId(), in a moment.'],
        'refused_by_database' => [RefusedByDatabase::class, 'Mend the row or the constraint that errors() names; it is not tried again.'],
        'session_expired' => [SessionGone::class, 'Log in again.'],
        'session_closed' => [SessionGone::class, 'Log in again.'],
        'session_lost' => [SessionGone::class, 'Log in again.'],
        'payload_too_large' => [RequestRefused::class, 'Send less at once; a batch as NDJSON has no limit.'],
        'unsupported_media_type' => [RequestRefused::class, 'Send application/json, or application/x-ndjson for a batch.'],
        'validation_failed' => [ValidationFailed::class, 'Correct the fields that errors() names.'],
        'idempotency_mismatch' => [IdempotencyMismatch::class, 'Use a new key for a new request.'],
        'rate_limited' => [RateLimited::class, 'Come back after retryAfter() seconds, or raise the rate of the token.'],
        'headers_too_large' => [RequestRefused::class, 'Send less in the head of the request.'],
        'robot_error' => [RobotRefused::class, 'See robot() for the robot\'s own words; a wrong password must be corrected first.'],
        'robot_unreachable' => [RobotUnavailable::class, 'The outcome is being settled: ask for the active session or the job.'],
        'robot_bad_response' => [RobotUnavailable::class, 'Have the robot looked at; the answer it gave is in its log.'],
        'step_failed' => [RobotRefused::class, 'See robot() for what the robot said to the step.'],
        'outcome_unknown' => [OutcomeUnknown::class, 'Look at the portal before you do it again.'],
        'no_free_worker' => [TryLater::class, 'Come back after retryAfter() seconds, use queued(), or add robots.'],
        'queue_full' => [TryLater::class, 'Come back after retryAfter() seconds.'],
        'no_dispatcher' => [TryLater::class, 'Come back after retryAfter() seconds; if it stays, a dispatcher must be started.'],
        'auth_unavailable' => [TryLater::class, 'Come back after retryAfter() seconds; "chasqui stats" names the cause.'],
        'database_unavailable' => [TryLater::class, 'Come back after retryAfter() seconds.'],
        'portal_unavailable' => [TryLater::class, 'Come back after retryAfter() seconds, or use queued() and let it wait.'],
        'session_migrating' => [TryLater::class, 'Come back after retryAfter() seconds: the session is moving to another robot.'],
        'deadline_exceeded' => [OutcomeUnknown::class, 'A log-in goes on: ask for the active session or the job of jobId().'],
    ];

    /** Those that never come from Chasqui. */
    private const OURS = [
        'broker_unreachable' => 'Check CHASQUI_URL and that the broker runs; repeat the request with its idempotency key.',
        'download_cut_short' => 'Download it again.',
    ];

    public static function advice(string $code): string
    {
        return self::ALL[$code][1] ?? self::OURS[$code] ?? 'Look at Chasqui\'s log.';
    }

    /** The exception for an answer that is not 2xx, whoever gave it: a proxy's page has a status only. */
    public static function exception(Response $response): Throwable
    {
        $status = $response->status();
        $json = $response->json();
        $body = is_array($json) ? $json : [];
        $code = is_string($body['error'] ?? null) ? $body['error'] : '';
        $retryAfter = max(0, (int) $response->header('Retry-After'));
        if (! isset(self::ALL[$code])) {
            $body = ['ok' => false, 'error' => $code ?: "http_$status", 'message' => "The answer has the status $status."] + $body;
        }
        $class = self::ALL[$code][0] ?? self::byStatus($status);
        if ($status === 503) { // robot_unreachable is 502 where nothing is left, and 503 where the session is kept
            $class = TryLater::class;
        }

        return $class === ValidationFailed::class ? ValidationFailed::from($body) : new $class($body, $status, $retryAfter);
    }

    private static function byStatus(int $status): string
    {
        switch ($status) {
            case 401: return Unauthenticated::class;
            case 403: return Forbidden::class;
            case 404: return RequestRefused::class;
            case 409: return Conflict::class;
            case 410: return SessionGone::class;
            case 422: return ValidationFailed::class;
            case 429: return RateLimited::class;
            case 502: return TryLater::class; // a proxy's: no broker behind it
            case 503: return TryLater::class;
            case 504: return OutcomeUnknown::class;
        }

        return ChasquiException::class;
    }
}
