<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A session was closed, has expired or was lost; payload['reason'] may say why. */
class SessionEnded extends ChasquiEvent
{
    public function session(): array
    {
        return $this->payload['session'];
    }
}
