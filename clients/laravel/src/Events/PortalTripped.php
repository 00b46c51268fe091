<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A portal is taken to be down. */
class PortalTripped extends ChasquiEvent
{
    public function portal(): array
    {
        return $this->payload['portal'];
    }
}
