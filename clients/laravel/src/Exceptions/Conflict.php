<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 409: the state of things is not one in which this can be done. */
class Conflict extends ChasquiException
{
}
