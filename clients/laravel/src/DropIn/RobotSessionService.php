<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\DropIn;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\Exceptions\NotFound;
use Chasqui\Laravel\Exceptions\SessionGone;

/**
 * Takes the place of the application's App\Services\RobotSessionService: the same methods and arrays, asked of Chasqui.
 * The "base_url" of a session is a name that only our RobotClient knows; no robot's address reaches the application.
 * What cannot be answered at present is TryLater, never "there is none".
 */
class RobotSessionService
{
    public function getWorkerBySession(string $sessionId): ?array
    {
        $session = $this->unlessGone(function (Chasqui $chasqui) use ($sessionId) {
            return $chasqui->session($sessionId);
        });

        return $session ? $this->worker($session) + [
            'job_id' => $session['job_id'],
            'company_id' => $session['company_id'],
            'portal' => $session['portal'],
        ] : null;
    }

    public function getWorkerByJobId(int $id): ?array
    {
        $job = $this->unlessGone(function (Chasqui $chasqui) use ($id) {
            return $chasqui->job($id);
        });
        $session = ! isset($job['session_id']) ? null : $this->unlessGone(function (Chasqui $chasqui) use ($job) {
            return $chasqui->session($job['session_id']);
        });

        return $session ? $this->worker($session) + [
            'session_id' => $session['session_id'],
            'company_id' => $session['company_id'],
            'portal' => $session['portal'],
        ] : null;
    }

    public function getActiveSession(int $companyId, string $portal): ?array
    {
        $session = $this->unlessGone(function (Chasqui $chasqui) use ($companyId, $portal) {
            return $chasqui->active($companyId, $portal);
        });

        return $session ? [
            'session_id' => $session['session_id'],
            'job_id' => $session['job_id'],
            'worker' => $this->worker($session),
            'started_at' => $session['started_at'],
        ] : null;
    }

    /** Whether this call closed it. */
    public function closeSession(string $sessionId): bool
    {
        return (bool) $this->unlessGone(function (Chasqui $chasqui) use ($sessionId) {
            return $chasqui->close($sessionId);
        });
    }

    protected function worker(array $session): array
    {
        $viewer = $session['viewer_url'];
        $tail = '/viewer/'.rawurlencode($session['session_id']);

        return [
            'base_url' => RobotClient::SESSION.rawurlencode($session['session_id']),
            // The application appends the tail itself. A signed link is left whole.
            'viewer_url' => $viewer && substr($viewer, -strlen($tail)) === $tail ? substr($viewer, 0, -strlen($tail)) : $viewer,
        ];
    }

    protected function unlessGone(callable $ask): ?array
    {
        try {
            return $ask(app(Chasqui::class));
        } catch (NotFound | SessionGone $none) {
            return null;
        }
    }
}
