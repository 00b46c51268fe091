<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 410: the session has expired, was closed or was lost. Log in again. */
class SessionGone extends ChasquiException
{
    /** The session that took its place, if there is one. */
    public function successor(): ?string
    {
        return $this->body['successor_session_id'] ?? null;
    }
}
