<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 502 outcome_unknown, 504 deadline_exceeded: it may have been carried out. Look before you repeat it. */
class OutcomeUnknown extends ChasquiException
{
    /** The job to ask for. */
    public function jobId(): ?int
    {
        return $this->body['job_id'] ?? null;
    }
}
