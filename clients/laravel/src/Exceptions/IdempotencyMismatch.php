<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 422 idempotency_mismatch: the key was used with another body. */
class IdempotencyMismatch extends ChasquiException
{
    protected $shown = false;
}
