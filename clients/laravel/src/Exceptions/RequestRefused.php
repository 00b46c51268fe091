<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 400, 404 not_found, 405, 413, 415, 431: the request is not one that Chasqui takes. A fault in the caller. */
class RequestRefused extends ChasquiException
{
    protected $shown = false;
}
