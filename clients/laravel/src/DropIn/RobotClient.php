<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\DropIn;

use Chasqui\Laravel\Chasqui;
use GuzzleHttp\Psr7\Response as Psr7Response;
use Illuminate\Http\Client\Response;
use InvalidArgumentException;

/**
 * Takes the place of the application's App\Services\RobotClient: what it would have sent to a robot goes to Chasqui, which
 * sends it to the robot of the session. It answers Laravel's Response as before, whatever its status is; the body of a
 * refusal is Chasqui's own ("error", "message"). Only a broker that cannot be reached is an exception.
 *
 *     POST   /{portal}/login        a log-in; answers as a robot does: session_id, url, titulo
 *     GET    /{portal}/buzon/list   the mailbox
 *     GET    /files/{token}         a file
 *     DELETE /sessions/{id}         closes the session
 *     any other path                passed on as it is, if robot.pass of Chasqui lets it through
 */
class RobotClient
{
    /** A "base URL" of our RobotSessionService begins with it. */
    public const SESSION = 'chasqui:';

    protected $session;

    /** Takes a robot's address as well, of which nothing is used: Chasqui knows where the session is. */
    public function setBaseUrl(?string $url): self
    {
        $isSession = $url !== null && strpos($url, self::SESSION) === 0;
        $this->session = $isSession ? rawurldecode(substr($url, strlen(self::SESSION))) : null;

        return $this;
    }

    public function get(string $path, array $query = [])
    {
        if (preg_match('#^/[a-z0-9_]+/buzon/list$#', $path)) {
            return $this->chasqui()->send('GET', '/buzon/list', [
                'query' => ['session_id' => $this->session('GET', $path, $query)] + array_intersect_key($query, ['page' => true]),
            ]);
        }
        if (preg_match('#^/files/([^/?]+)$#', $path, $found)) {
            return $this->chasqui()->send('GET', '/buzon/download', [
                'query' => ['session_id' => $this->session('GET', $path, $query), 'file_token' => rawurldecode($found[1])],
            ], 120);
        }

        return $this->pass('GET', $path, $query, null);
    }

    public function post(string $path, array $body = [])
    {
        return preg_match('#^/([a-z0-9_]+)/login$#', $path, $found)
            ? $this->login($found[1], $body)
            : $this->pass('POST', $path, [], $body);
    }

    public function delete(string $path)
    {
        return preg_match('#^/sessions/([^/?]+)$#', $path, $found)
            ? $this->chasqui()->send('DELETE', '/sessions/'.$found[1])
            : $this->pass('DELETE', $path, [], null);
    }

    protected function login(string $portal, array $body)
    {
        $chasqui = $this->chasqui();
        if (isset($body['job_uid'])) { // a log-in that Laravel's queue repeats is the same one
            $chasqui = $chasqui->idempotent('laravel-'.$body['job_uid']);
        }
        $params = array_diff_key($body, ['company_id' => true, 'job_uid' => true]);
        $response = $chasqui->send('POST', '/jobs/execute', ['json' => [
            'company_id' => $body['company_id'] ?? null,
            'portal' => $portal,
            'action' => Chasqui::loginAction($portal),
        ] + ($params ? ['params' => (object) $params] : [])], 126);
        if ($response->status() !== 200) {
            return $response;
        }
        $robot = $response->json('robot') ?? [];

        return new Response(new Psr7Response(200, ['Content-Type' => 'application/json'], json_encode([
            'ok' => true,
            'session_id' => $response->json('session_id'),
            'url' => $robot['url'] ?? null,
            'titulo' => $robot['titulo'] ?? null,
            'viewer_url' => $response->json('viewer_url'),
        ])));
    }

    protected function pass(string $method, string $path, array $query, ?array $body)
    {
        $session = $this->session($method, $path, $query + ($body ?? []));

        return $this->chasqui()->robot($session, $method, $path, $query, $body);
    }

    protected function session(string $method, string $path, array $given): string
    {
        $session = $given['session_id'] ?? $this->session;
        if (! is_string($session) || $session === '') {
            throw new InvalidArgumentException("$method $path names no session, so Chasqui cannot tell which robot it is for: ".
                'give session_id, or setBaseUrl() the base_url of RobotSessionService.');
        }

        return $session;
    }

    protected function chasqui(): Chasqui
    {
        return app(Chasqui::class);
    }
}
