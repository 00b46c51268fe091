<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

use Throwable;

/**
 * What every exception of this package can tell. The message has it all in one line: the code, Chasqui's own words, what
 * to do, and the id by which the request is found in Chasqui's logs.
 */
interface Failure extends Throwable
{
    /** The code, "no_free_worker" for instance. */
    public function error(): string;

    /** What to do about it. */
    public function advice(): string;

    /** After how many seconds it makes sense to try again; 0 = not by itself. */
    public function retryAfter(): int;

    public function requestId(): ?string;

    /** The whole answer. */
    public function body(): array;
}
