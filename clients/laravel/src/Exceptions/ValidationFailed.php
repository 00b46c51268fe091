<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

use Illuminate\Validation\ValidationException;

/** 422 validation_failed, as Laravel's own: errors() names each field, and Laravel renders it as it does any other. */
class ValidationFailed extends ValidationException implements Failure
{
    use TellsFailure;

    public static function from(array $body): self
    {
        $made = static::withMessages($body['errors'] ?? ['request' => [$body['message'] ?? 'It is not valid.']]);
        $made->body = $body;
        $made->message = $made->sentence();

        return $made;
    }
}
