<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 403: the token is not for this call, or not for this company. */
class Forbidden extends ChasquiException
{
    protected $shown = false; // it says nothing about the user of the application, whose 401 or 403 it would look like
}
