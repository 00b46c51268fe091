<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Facades;

use Illuminate\Support\Facades\Facade;

/**
 * @see \Chasqui\Laravel\Chasqui
 */
class Chasqui extends Facade
{
    protected static function getFacadeAccessor()
    {
        return \Chasqui\Laravel\Chasqui::class;
    }
}
