<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

use Throwable;

/** No answer from the broker at chasqui.url: it is not there, or the connection broke. The request may have arrived. */
class BrokerUnreachable extends TryLater
{
    public function __construct(string $url, Throwable $why)
    {
        parent::__construct(['ok' => false, 'error' => 'broker_unreachable', 'message' => 'The broker cannot be reached.'], 503, 5, $why);
        $this->message .= " [$url: {$why->getMessage()}]"; // for the log, not for the browser
    }
}
