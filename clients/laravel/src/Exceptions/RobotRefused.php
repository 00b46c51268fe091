<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 502 robot_error, step_failed: the robot said no, a wrong password for instance. */
class RobotRefused extends ChasquiException
{
    /** What the robot answered: its own error and message, if it gave any. */
    public function robot(): array
    {
        return $this->body['robot'] ?? [];
    }
}
