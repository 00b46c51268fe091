<?php

// SPDX-License-Identifier: MIT

use Chasqui\Laravel\Http\Controllers\WebhookController;
use Chasqui\Laravel\Http\Middleware\VerifySignature;
use Illuminate\Support\Facades\Route;

Route::post(config('chasqui.webhook_path'), WebhookController::class)->middleware(VerifySignature::class)->name('chasqui.webhook');
