<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 503: nothing was done, or nothing is known yet; the same request may succeed after retryAfter seconds. */
class TryLater extends ChasquiException
{
    public function advice(): string
    {
        return $this->error() === 'robot_unreachable'
            ? 'Come back after retryAfter() seconds: the session is kept.'
            : parent::advice();
    }
}
