<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** A portal lets log-ins through again. */
class PortalRecovered extends ChasquiEvent
{
    public function portal(): array
    {
        return $this->payload['portal'];
    }
}
