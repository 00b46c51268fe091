<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A log-in has a session, or Laravel's was adopted. */
class SessionOpened extends ChasquiEvent
{
    public function session(): array
    {
        return $this->payload['session'];
    }
}
