<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** Whatever Chasqui tells. A listener of it hears every event, those that are newer than this package among them. */
interface Told
{
}
