<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 502 robot_unreachable, robot_bad_response: the robot failed, not the company. */
class RobotUnavailable extends ChasquiException
{
    /** The job to ask for. */
    public function jobId(): ?int
    {
        return $this->body['job_id'] ?? null;
    }
}
