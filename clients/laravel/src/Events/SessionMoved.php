<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A session is on another robot, perhaps under another id. */
class SessionMoved extends ChasquiEvent
{
    public function session(): array
    {
        return $this->payload['session'];
    }
}
