<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Casts;

use Illuminate\Contracts\Database\Eloquent\CastsAttributes;

/**
 * For the status of the application's own model of portal_jobs: Chasqui's rows may be queued, retrying or cancelled, of which the
 * model knows nothing. It reads what chasqui.statuses has for them. What is written is not changed, nor is what a query compares.
 */
class JobStatus implements CastsAttributes
{
    public function get($model, string $key, $value, array $attributes)
    {
        return config('chasqui.statuses')[$value] ?? $value;
    }

    public function set($model, string $key, $value, array $attributes)
    {
        return $value;
    }
}
