<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 409 login_in_progress: somebody logs this company in at this moment. */
class LoginInProgress extends Conflict
{
    /** The job to ask for. */
    public function jobId(): ?int
    {
        return $this->body['job_id'] ?? null;
    }
}
