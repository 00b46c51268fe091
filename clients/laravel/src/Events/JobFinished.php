<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A job is done, failed or cancelled; its status is that of the moment. */
class JobFinished extends ChasquiEvent
{
    public function job(): array
    {
        return $this->payload['job'];
    }
}
