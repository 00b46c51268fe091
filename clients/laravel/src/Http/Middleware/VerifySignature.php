<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Http\Middleware;

use Closure;
use Illuminate\Support\Facades\Log;

/**
 * Lets through what Chasqui signed: X-Chasqui-Signature is "v1=" and the HMAC-SHA256, in hex, of the timestamp, a dot and the
 * body, with the secret of webhook.secret_file. A timestamp that is too far from our clock is refused: what was heard on the
 * way cannot be sent again later.
 */
class VerifySignature
{
    public function handle($request, Closure $next)
    {
        $secrets = $this->secrets();
        if (! $secrets) {
            Log::error('Chasqui\'s webhook has no secret: set CHASQUI_WEBHOOK_SECRET or CHASQUI_WEBHOOK_SECRET_FILE.');

            return response()->json(['ok' => false, 'error' => 'no_secret'], 503);
        }

        $timestamp = (string) $request->header('X-Chasqui-Timestamp');
        if (! preg_match('/^\d{1,12}\z/', $timestamp) || abs(time() - (int) $timestamp) > config('chasqui.webhook_tolerance_s', 300)) {
            return $this->refused('the timestamp is missing or too far from this clock');
        }
        foreach ($secrets as $secret) {
            $wanted = 'v1='.hash_hmac('sha256', $timestamp.'.'.$request->getContent(), $secret);
            if (hash_equals($wanted, (string) $request->header('X-Chasqui-Signature'))) {
                return $next($request);
            }
        }

        return $this->refused('the signature is not that of our secret');
    }

    /** Chasqui tries again for three days: a wrong secret or clock can be mended meanwhile. */
    private function refused(string $why)
    {
        Log::warning("A webhook of Chasqui was refused: $why.");

        return response()->json(['ok' => false, 'error' => 'bad_signature'], 403);
    }

    /** Several while one takes the place of another. Each without the space and newline that a file ends with. */
    private function secrets(): array
    {
        $secrets = (array) config('chasqui.webhook_secret');
        $file = config('chasqui.webhook_secret_file');
        if ($file && is_readable($file)) {
            $secrets[] = file_get_contents($file);
        }

        return array_filter(array_map(function ($secret) {
            return rtrim((string) $secret, " \t\r\n");
        }, $secrets), 'strlen');
    }
}
