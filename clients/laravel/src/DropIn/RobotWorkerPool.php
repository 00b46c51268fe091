<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\DropIn;

/**
 * Takes the place of the application's App\Services\RobotWorkerPool, which asked the robots for their health: Chasqui picks
 * the robot when it logs in, so there is always one to ask, and its address is nobody's business.
 */
class RobotWorkerPool
{
    public function checkHealth(array $worker): ?array
    {
        return ['ok' => true];
    }

    public function getFreeWorker(): ?array
    {
        return ['base_url' => null, 'viewer_url' => config('chasqui.viewer_url')];
    }
}
