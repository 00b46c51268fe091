<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel;

use Chasqui\Laravel\Exceptions\BrokerUnreachable;
use Chasqui\Laravel\Exceptions\DownloadCutShort;
use Chasqui\Laravel\Exceptions\Codes;
use GuzzleHttp\Exception\TransferException;
use GuzzleHttp\Psr7\Utils;
use Illuminate\Http\Client\ConnectionException;
use Illuminate\Http\Client\Response;
use Illuminate\Support\Facades\Http;
use Symfony\Component\HttpFoundation\StreamedResponse;

/**
 * The app API of Chasqui. Every method answers the decoded JSON as an array, or throws one of Chasqui\Laravel\Exceptions.
 * An instance is not changed by withToken() and its like: they answer a changed copy.
 */
class Chasqui
{
    /** What the broker itself waits for an action, and for anything else, plus a little. */
    protected const EXECUTE_S = 126;
    protected const QUERY_S = 31;

    protected $url;
    protected $token;
    protected $headers = [];
    protected $deadlineMs;
    protected $waitS = 0;

    public function __construct(?string $url = null, ?string $token = null)
    {
        $this->url = rtrim($url ?? config('chasqui.url'), '/');
        $this->token = $token ?? config('chasqui.token');
    }

    /** For tests: see Facades\Chasqui::fake(). */
    public static function fake(): Testing\ChasquiFake
    {
        return Facades\Chasqui::fake();
    }

    /** Speaks with another token, that of the user for instance: $chasqui->withToken($request->bearerToken()). */
    public function withToken(?string $token): self
    {
        return $this->with(function ($copy) use ($token) {
            $copy->token = $token;
        });
    }

    /** A request that is repeated with the same key is carried out once. Keys hold for 24 hours. */
    public function idempotent(string $key): self
    {
        return $this->withHeader('Idempotency-Key', $key);
    }

    /** How long the caller is ready to wait, 100 to 150,000 ms. */
    public function deadline(int $ms): self
    {
        return $this->with(function ($copy) use ($ms) {
            $copy->deadlineMs = $ms;
        })->withHeader('X-Deadline-Ms', (string) $ms);
    }

    /** Log-ins are queued and answered at once, with the job's id and no session. */
    public function queued(): self
    {
        return $this->withHeader('Prefer', 'respond-async');
    }

    /** Log-ins are queued; their outcome is awaited for so many seconds (up to 120). */
    public function waiting(int $seconds): self
    {
        return $this->with(function ($copy) use ($seconds) {
            $copy->waitS = $seconds;
        })->withHeader('Prefer', "wait=$seconds");
    }

    // --- log-ins and sessions ------------------------------------------------------------------------------------

    /** Logs a company in, or answers its active session ("reused": true). $more: force_new, priority, remember. */
    public function login(int $company, string $portal, ?string $action = null, array $params = [], array $more = []): array
    {
        return $this->execute($company, $portal, $action ?? self::loginAction($portal), $params, $more);
    }

    /** Runs an action; with 'session_id' in $more, in that session. */
    public function execute(int $company, string $portal, string $action, array $params = [], array $more = []): array
    {
        // An empty PHP array would be a JSON list: params are an object, or are left out.
        $body = ['company_id' => $company, 'portal' => $portal, 'action' => $action]
            + ($params ? ['params' => (object) $params] : []) + $more;

        return $this->answer($this->send('POST', '/jobs/execute', ['json' => $body], self::EXECUTE_S));
    }

    public function active(int $company, string $portal): array
    {
        return $this->answer($this->send('GET', '/sessions/active', ['query' => ['company_id' => $company, 'portal' => $portal]]));
    }

    public function session(string $session): array
    {
        return $this->answer($this->send('GET', '/sessions/'.rawurlencode($session)));
    }

    /** Counts as a use of the session, and does nothing else. */
    public function touch(string $session): array
    {
        return $this->answer($this->send('POST', '/sessions/'.rawurlencode($session).'/touch'));
    }

    public function close(string $session): array
    {
        return $this->answer($this->send('DELETE', '/sessions/'.rawurlencode($session)));
    }

    // --- the mailbox ---------------------------------------------------------------------------------------------

    public function buzon(string $session, int $page = 1): array
    {
        return $this->answer($this->send('GET', '/buzon/list', ['query' => ['session_id' => $session, 'page' => $page]]));
    }

    /** A file whose body is not read yet. A transfer that breaks is shorter than its Content-Length: see saveAs(). */
    public function download(string $session, string $fileToken): Response
    {
        $response = $this->send('GET', '/buzon/download', [
            'query' => ['session_id' => $session, 'file_token' => $fileToken],
            'stream' => true,
        ]);
        if (! $response->successful()) {
            $this->answer($response);
        }

        return $response;
    }

    /**
     * Writes a file to a path, or to a stream that is open; answers its length.
     *
     * @param  string|resource  $to
     * @throws DownloadCutShort
     */
    public function saveAs(string $session, string $fileToken, $to): int
    {
        $response = $this->download($session, $fileToken);
        $out = is_resource($to) ? $to : fopen($to, 'wb');
        try {
            return $this->copy($response, $out);
        } finally {
            if (! is_resource($to)) {
                fclose($out);
            }
        }
    }

    /** A file on its way to the browser, never whole in memory: return it from a controller. */
    public function stream(string $session, string $fileToken): StreamedResponse
    {
        $response = $this->download($session, $fileToken);
        $headers = [];
        foreach (['Content-Type', 'Content-Length', 'Content-Disposition'] as $name) {
            if ($response->header($name) !== '') {
                $headers[$name] = $response->header($name);
            }
        }

        return new StreamedResponse(function () use ($response) {
            $this->copy($response, fopen('php://output', 'wb'));
        }, 200, $headers);
    }

    /** Any other call of the session's robot, for paths that robot.pass lets through. Answers the robot's response. */
    public function robot(string $session, string $method, string $path, array $query = [], ?array $body = null): Response
    {
        return $this->send($method, '/robot/'.ltrim($path, '/'), array_filter([
            'query' => ['session_id' => $session] + $query,
            'json' => $body,
        ]), self::EXECUTE_S);
    }

    // --- jobs ----------------------------------------------------------------------------------------------------

    /** @param  int|string  $job  its id or its uid */
    public function job($job): array
    {
        return $this->answer($this->send('GET', '/jobs/'.rawurlencode((string) $job)))['job'];
    }

    /** One page: ['jobs' => [...], 'next_cursor' => ...]. $filter: status, portal, company_id, batch_id, error, cursor, limit. */
    public function jobs(array $filter = []): array
    {
        return $this->answer($this->send('GET', '/jobs', ['query' => $filter]));
    }

    /** @param  int|string  $job */
    public function cancelJob($job): array
    {
        return $this->answer($this->send('DELETE', '/jobs/'.rawurlencode((string) $job)));
    }

    // --- batches -------------------------------------------------------------------------------------------------

    /**
     * Log-ins by the thousand. $items: anything that can be iterated, of ['company_id' => …, 'params' => [...]]; without
     * params the stored credentials are used. $query: name, priority, callback_url, available_at, then, close.
     */
    public function batch(string $portal, string $action, iterable $items, array $query = []): array
    {
        $body = fopen('php://temp', 'w+b');
        foreach ($items as $item) {
            if (isset($item['params'])) {
                $item['params'] = (object) $item['params'];
            }
            fwrite($body, json_encode($item, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR)."\n");
        }
        rewind($body);
        foreach ($query as $name => $value) {
            $query[$name] = is_array($value) ? json_encode($value) : (is_bool($value) ? ($value ? 'true' : 'false') : $value);
        }

        return $this->answer($this->send('POST', '/batches', [
            'query' => ['portal' => $portal, 'action' => $action] + $query,
            'ndjson' => Utils::streamFor($body),
        ], self::EXECUTE_S));
    }

    public function batchStatus(int $batch): array
    {
        return $this->answer($this->send('GET', "/batches/$batch"))['batch'];
    }

    /** One page: ['items' => [...], 'next_cursor' => ...]. $filter: status, error, robot_error, cursor, limit. */
    public function batchItems(int $batch, array $filter = []): array
    {
        return $this->answer($this->send('GET', "/batches/$batch/items", ['query' => $filter]));
    }

    public function cancelBatch(int $batch): array
    {
        return $this->answer($this->send('DELETE', "/batches/$batch"));
    }

    // --- credentials ---------------------------------------------------------------------------------------------

    /** Stores what a company logs in with, sealed: it cannot be read back. */
    public function setCredentials(int $company, string $portal, array $credentials): array
    {
        return $this->answer($this->send('PUT', '/credentials', [
            'json' => ['company_id' => $company, 'portal' => $portal, 'credentials' => (object) $credentials],
        ]));
    }

    public function forgetCredentials(int $company, string $portal): array
    {
        return $this->answer($this->send('DELETE', '/credentials', ['query' => ['company_id' => $company, 'portal' => $portal]]));
    }

    // --- the request itself --------------------------------------------------------------------------------------

    public static function loginAction(string $portal): string
    {
        return config("chasqui.login_actions.$portal") ?? "$portal.menu_sol_login";
    }

    /**
     * One call of the app API; whatever its status is, it is answered.
     *
     * @param  array  $options  'query', and one of 'json' (an array) and 'ndjson' (a stream); 'stream' => true leaves the body unread
     * @throws BrokerUnreachable
     */
    public function send(string $method, string $path, array $options = [], int $limitS = self::QUERY_S): Response
    {
        $limitS = $this->deadlineMs ? (int) ceil($this->deadlineMs / 1000) + 1 : max($limitS, $this->waitS + 6);
        $request = Http::baseUrl($this->url.'/api/v1/app')->acceptJson()->timeout($limitS)
            ->withOptions(['connect_timeout' => config('chasqui.connect_timeout_s', 3), 'allow_redirects' => false]
                + array_intersect_key($options, ['stream' => true]))
            ->withHeaders($this->headers + array_filter(['X-Request-Id' => $this->requestId()]));
        if ($this->token) {
            $request->withToken($this->token);
        }
        if (isset($options['ndjson'])) {
            // Laravel would take the text of a body apart as if it were a form.
            $request->bodyFormat('query')->contentType('application/x-ndjson');
            $options['body'] = $options['ndjson'];
        }
        try {
            return $request->send($method, $path, array_intersect_key($options, ['query' => true, 'json' => true, 'body' => true]));
        } catch (ConnectionException | TransferException $why) {
            throw new BrokerUnreachable($this->url, $why);
        }
    }

    private function answer(Response $response): array
    {
        if (! $response->successful()) {
            throw Codes::exception($response);
        }

        return $response->json() ?? [];
    }

    private function copy(Response $response, $out): int
    {
        $body = $response->toPsrResponse()->getBody();
        $length = 0;
        while (! $body->eof()) {
            $length += fwrite($out, $body->read(65536));
        }
        if ($response->header('Content-Length') !== '' && $length !== (int) $response->header('Content-Length')) {
            throw new DownloadCutShort($length, (int) $response->header('Content-Length'));
        }

        return $length;
    }

    /** The request that is being served keeps its id on the whole way to the robot. */
    private function requestId(): ?string
    {
        $id = app()->bound('request') ? app('request')->header('X-Request-Id') : null;

        return is_string($id) && preg_match('/^[A-Za-z0-9._-]{1,128}\z/', $id) ? $id : null;
    }

    private function withHeader(string $name, string $value): self
    {
        return $this->with(function ($copy) use ($name, $value) {
            $copy->headers[$name] = $value;
        });
    }

    private function with(callable $change): self
    {
        $copy = clone $this;
        $change($copy);

        return $copy;
    }
}
