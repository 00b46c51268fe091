<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Chasqui;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\Testing\TestCase as Base;

/** LARAVEL_APP is the directory of an application in which the package is installed. */
abstract class TestCase extends Base
{
    public function createApplication()
    {
        $app = require getenv('LARAVEL_APP').'/bootstrap/app.php';
        $app->make(Kernel::class)->bootstrap();
        config(['cache.default' => 'array']);

        return $app;
    }

    /** A client of nothing: for tests in which Http is a fake. */
    protected function chasqui(): Chasqui
    {
        return new Chasqui('http://chasqui.test', '1|secret');
    }
}
