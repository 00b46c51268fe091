<?php

// SPDX-License-Identifier: MIT

return [

    /*
    |--------------------------------------------------------------------------
    | The broker
    |--------------------------------------------------------------------------
    |
    | The address of broker.http, and the token that this application uses when
    | it speaks for itself: `chasqui token create --company '*' --ability app`.
    |
    */

    'url' => env('CHASQUI_URL', 'http://127.0.0.1:8080'),

    'token' => env('CHASQUI_TOKEN'),

    'connect_timeout_s' => 3,

    /*
    |--------------------------------------------------------------------------
    | Log-in actions
    |--------------------------------------------------------------------------
    |
    | The log-in action of a portal is "<portal>.menu_sol_login", unless it is
    | named here: 'sunafil' => 'sunafil.casilla_login'.
    |
    */

    'login_actions' => [],

    // Only for the drop-in RobotWorkerPool: the viewer_url of the robots, as in `chasqui worker add`.
    'viewer_url' => env('CHASQUI_VIEWER_URL'),

    /*
    |--------------------------------------------------------------------------
    | Webhooks
    |--------------------------------------------------------------------------
    |
    | Where events.url of Chasqui and the callbacks of batches point to: the path
    | below this application. Its secret is the text in webhook.secret_file, or a
    | file that holds it. While one secret takes the place of another: an array.
    | Without a path there is no route.
    |
    */

    'webhook_path' => env('CHASQUI_WEBHOOK_PATH'),

    'webhook_secret' => env('CHASQUI_WEBHOOK_SECRET'),

    'webhook_secret_file' => env('CHASQUI_WEBHOOK_SECRET_FILE'),

    'webhook_tolerance_s' => 300,

    // How often chasqui:login looks how far its batch is.
    'look_ms' => 1000,

    /*
    |--------------------------------------------------------------------------
    | Statuses of portal_jobs
    |--------------------------------------------------------------------------
    |
    | What your model reads for statuses that it does not know, if it casts them:
    | protected $casts = ['status' => Chasqui\Laravel\Casts\JobStatus::class].
    |
    */

    'statuses' => ['queued' => 'pending', 'retrying' => 'pending', 'cancelled' => 'failed'],

    /*
    |--------------------------------------------------------------------------
    | Classes that Chasqui takes the place of
    |--------------------------------------------------------------------------
    |
    | Each line sends one of your own classes' callers to Chasqui, whether they
    | write `new` or ask the container. Without the line all is as before.
    |
    */

    'replace' => [
        // App\Services\RobotSessionService::class => Chasqui\Laravel\DropIn\RobotSessionService::class,
        // App\Services\RobotClient::class => Chasqui\Laravel\DropIn\RobotClient::class,
        // App\Services\RobotWorkerPool::class => Chasqui\Laravel\DropIn\RobotWorkerPool::class,
    ],

];
