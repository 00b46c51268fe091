<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Facades;

use Chasqui\Laravel\Testing\ChasquiFake;
use Illuminate\Support\Facades\Facade;

/**
 * @see \Chasqui\Laravel\Chasqui
 */
class Chasqui extends Facade
{
    /** From here on nothing is sent: the facade, the container and the drop-in classes get a fake, which is answered. */
    public static function fake(): ChasquiFake
    {
        static::swap($fake = new ChasquiFake());

        return $fake;
    }

    protected static function getFacadeAccessor()
    {
        return \Chasqui\Laravel\Chasqui::class;
    }
}
