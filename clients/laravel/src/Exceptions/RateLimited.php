<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 429: too many requests with this token in this minute. */
class RateLimited extends TryLater
{
}
