<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel;

use Illuminate\Support\ServiceProvider;
use LogicException;

class ChasquiServiceProvider extends ServiceProvider
{
    public function register()
    {
        $this->mergeConfigFrom(__DIR__.'/../config/chasqui.php', 'chasqui');

        $this->app->bind(Chasqui::class, function ($app) {
            return new Chasqui($app['config']['chasqui.url'], $app['config']['chasqui.token']);
        });

        foreach ($this->app['config']['chasqui.replace'] ?? [] as $theirs => $ours) {
            $this->replace($theirs, $ours);
        }
    }

    public function boot()
    {
        if ($this->app['config']['chasqui.webhook_path'] !== null) {
            $this->loadRoutesFrom(__DIR__.'/../routes/webhook.php');
        }
        if (! $this->app->runningInConsole()) {
            return;
        }

        $this->commands([Console\LoginCommand::class, Console\StatusCommand::class]);
        $this->publishes([__DIR__.'/../config/chasqui.php' => $this->app->configPath('chasqui.php')], 'chasqui-config');
        $this->publishes([__DIR__.'/../database/migrations' => $this->app->databasePath('migrations')], 'chasqui-migrations');
    }

    /**
     * The name of the application's class becomes a second name of ours, before the application's file is loaded: so
     * `new`, type hints and the container find ours alike.
     *
     * @throws LogicException when the application's class is loaded already
     */
    protected function replace(string $theirs, string $ours)
    {
        if (! class_exists($theirs, false)) {
            class_alias($ours, $theirs);
        } elseif (! is_a($theirs, $ours, true)) {
            throw new LogicException("chasqui.replace comes too late for $theirs: it is loaded already. ".
                'List Chasqui\Laravel\ChasquiServiceProvider in config/app.php before the provider that uses it.');
        }
    }
}
