<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 401: the token is not known, expired or revoked. */
class Unauthenticated extends ChasquiException
{
    protected $shown = false; // it says nothing about the user of the application, whose 401 or 403 it would look like
}
