<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** All items of a batch have ended; it comes by events.url and as a batch's callback. */
class BatchFinished extends ChasquiEvent
{
    public function batch(): array
    {
        return $this->payload['batch'];
    }
}
