<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

use RuntimeException;
use Throwable;

/** The parent of all exceptions of this package but ValidationFailed, which is one of Laravel's. getCode() is the HTTP status. */
class ChasquiException extends RuntimeException implements Failure
{
    use TellsFailure;

    /** Whether a request to the application may be answered with what Chasqui said. */
    protected $shown = true;

    public function __construct(array $body, int $status, int $retryAfter = 0, ?Throwable $previous = null)
    {
        $this->body = $body;
        $this->retryAfter = $retryAfter;
        parent::__construct($this->sentence(), $status, $previous);
    }

    /** An exception that a controller does not catch becomes Chasqui's own answer: the front-end sees the same from both. */
    public function render($request)
    {
        if (! $this->shown || ! $request->expectsJson()) {
            return false;
        }

        return response()->json($this->body, $this->getCode(), $this->retryAfter ? ['Retry-After' => $this->retryAfter] : []);
    }
}
