<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 404: there is no such session, job, batch or file, or it is another company's. */
class NotFound extends ChasquiException
{
}
