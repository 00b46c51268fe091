<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** 409 refused_by_database: a constraint, trigger or column of your own tables refuses the row; errors() names it. */
class RefusedByDatabase extends Conflict
{
    public function errors(): array
    {
        return $this->body['errors'] ?? [];
    }
}
