<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Http\Controllers;

use Chasqui\Laravel\Events\ChasquiEvent;
use Illuminate\Http\Request;
use Illuminate\Routing\Controller;
use Illuminate\Support\Facades\Cache;
use Throwable;

/**
 * Fires a Laravel event for each delivery, once. 204 says that it is ours. Where a listener fails it is not, and Chasqui tries
 * again. Listeners that take long belong on a queue: Chasqui waits for webhook.timeout_ms only.
 */
class WebhookController extends Controller
{
    /** Chasqui tries for three days. */
    private const KNOWN_S = 4 * 86400;

    /** As long as one may be worked on before its process is taken to be dead. */
    private const WORKING_S = 120;

    public function __invoke(Request $request)
    {
        $payload = json_decode($request->getContent(), true);
        $delivery = (string) $request->header('X-Chasqui-Delivery');
        if (! is_array($payload) || ! is_string($payload['event'] ?? null) || ! preg_match('/^[0-9a-f]{1,64}\z/', $delivery)) {
            return response()->json(['ok' => false, 'error' => 'bad_request'], 400);
        }

        $key = "chasqui:delivery:$delivery";
        if (! Cache::add($key, 'working', self::WORKING_S)) {
            return Cache::get($key) === 'done'
                ? response()->noContent()
                : response()->json(['ok' => false, 'error' => 'in_progress'], 503, ['Retry-After' => 5]);
        }
        try {
            event(ChasquiEvent::from($payload, $delivery));
        } catch (Throwable $why) {
            Cache::forget($key);
            throw $why;
        }
        Cache::put($key, 'done', self::KNOWN_S);

        return response()->noContent();
    }
}
