<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Testing;

use Chasqui\Laravel\Chasqui;
use GuzzleHttp\Psr7\Response as Psr7Response;
use Illuminate\Http\Client\Response;
use InvalidArgumentException;
use PHPUnit\Framework\Assert as PHPUnit;

/**
 * Stands in for Chasqui in tests of the application: nothing is sent. What it answers are the bytes of a Chasqui that ran
 * (resources/fixtures/answers.json), with the ids of the test in them. It remembers who is logged in, so a log-in is met
 * again, and a closed session is gone. Copies (withToken() and its like) share one memory.
 */
class ChasquiFake extends Chasqui
{
    /** @var Memory */
    private $memory;

    /** @var array<string, array{status: int, headers: array<string, string>, body: string}> */
    private static $answers;

    public function __construct()
    {
        parent::__construct('http://chasqui.fake', '1|fake');
        $this->memory = new Memory();
    }

    // --- what is to happen ---------------------------------------------------------------------------------------

    /**
     * The next calls fail with this code. $path narrows it: 'buzon/list', or 'sessions/*'. Where a code has more than one
     * status, robot_unreachable has 502 and 503, $status says which.
     */
    public function failsWith(string $code, string $path = '*', int $times = 1, ?int $status = null): self
    {
        $this->memory->failures[] = (object) ['answer' => $this->error($code, $status), 'path' => $path, 'left' => $times];

        return $this;
    }

    /** A session is there already; answers its id. */
    public function loggedIn(int $company, string $portal = 'sunat'): string
    {
        return $this->memory->open($company, $portal);
    }

    /** It ends as sessions end by themselves: state is expired, lost or closed. */
    public function ends(string $session, string $state = 'expired'): self
    {
        $this->memory->sessions[$session]['state'] = $state;

        return $this;
    }

    /** What the robot has in the mailbox: its JSON, instead of the recorded one. */
    public function mailbox(array $json): self
    {
        $this->memory->mailbox = $json;

        return $this;
    }

    // --- what has happened ---------------------------------------------------------------------------------------

    /** Calls so far: ['method' => …, 'path' => …, 'query' => [...], 'json' => [...], 'lines' => [...], 'headers' => [...]]. */
    public function calls(?callable $filter = null): array
    {
        return array_values(array_filter($this->memory->calls, $filter ?? function () {
            return true;
        }));
    }

    public function assertLoggedIn(int $company, ?string $portal = null): void
    {
        PHPUnit::assertNotEmpty($this->logins($company, $portal), "Company $company was not logged in.");
    }

    public function assertNotLoggedIn(int $company, ?string $portal = null): void
    {
        PHPUnit::assertEmpty($this->logins($company, $portal), "Company $company was logged in.");
    }

    public function assertClosed(string $session): void
    {
        PHPUnit::assertSame('closed', $this->memory->sessions[$session]['state'] ?? 'not there', "The session $session was not closed.");
    }

    /** A batch was sent; $callback gets its items and query, and says whether it is the one. */
    public function assertBatch(?callable $callback = null): void
    {
        PHPUnit::assertNotEmpty($this->calls(function ($call) use ($callback) {
            return $call['path'] === 'batches' && $call['method'] === 'POST' && (! $callback || $callback($call['lines'], $call['query']));
        }), 'No such batch was sent.');
    }

    /** @param  callable  $callback  gets a call, see calls() */
    public function assertSent(callable $callback): void
    {
        PHPUnit::assertNotEmpty($this->calls($callback), 'No such call was made.');
    }

    public function assertNothingSent(): void
    {
        PHPUnit::assertSame([], $this->memory->calls, 'Calls were made.');
    }

    // --- instead of the network ----------------------------------------------------------------------------------

    public function send(string $method, string $path, array $options = [], int $limitS = self::QUERY_S): Response
    {
        $path = ltrim($path, '/');
        $lines = isset($options['ndjson']) ? array_filter(explode("\n", (string) $options['ndjson'])) : [];
        $json = json_decode(json_encode($options['json'] ?? []), true);
        $query = $options['query'] ?? [];
        $this->memory->calls[] = compact('method', 'path', 'query', 'json') + [
            'lines' => array_map(function ($line) {
                return json_decode($line, true);
            }, array_values($lines)),
            'headers' => $this->headers,
        ];
        foreach ($this->memory->failures as $failure) {
            if ($failure->left > 0 && fnmatch($failure->path, $path)) {
                $failure->left--;

                return $this->response($failure->answer);
            }
        }

        return $this->answerTo($method, $path, $query, $json, count($lines));
    }

    private function answerTo(string $method, string $path, array $query, array $json, int $lines): Response
    {
        $part = array_map('rawurldecode', explode('/', $path));
        if (isset($part[1]) && ! in_array($part[1], ['execute', 'active', 'list', 'download'], true)) {
            [$id, $shown] = [$part[1], [$part[0], '{}'] + $part];
        }
        $route = "$method ".implode('/', $shown ?? $part);
        switch ($route) {
            case 'POST jobs/execute':
                return $this->actionOf($json);
            case 'GET sessions/active':
                $session = $this->memory->active((int) $query['company_id'], $query['portal']);

                return $session ? $this->ofSession('session_active', $session) : $this->response($this->error('session_not_found'));
            case 'GET sessions/{}':
                return $this->ofSession('session', $id);
            case 'POST sessions/{}/touch':
                return $this->ofSession('touch', $id);
            case 'DELETE sessions/{}':
                $answer = $this->ofSession('close', $id);
                if ($answer->successful()) {
                    $this->ends($id, 'closed');
                }

                return $answer;
            case 'GET buzon/list':
                $answer = $this->ofSession('buzon_list', $query['session_id'], ['page' => (int) ($query['page'] ?? 1)]);

                return $answer->successful() && $this->memory->mailbox !== null
                    ? new Response(new Psr7Response(200, ['Content-Type' => 'application/json'], json_encode($this->memory->mailbox)))
                    : $answer;
            case 'GET buzon/download':
                return $this->ofSession('download', $query['session_id']);
            case 'GET jobs':
                return $this->recorded('jobs');
            case 'GET jobs/{}':
                $job = $this->memory->job($id);

                return $job ? $this->recorded('job', $job) : $this->response($this->error('job_not_found'));
            case 'DELETE jobs/{}':
                return $this->recorded('job_cancelled', ['id' => (int) $id, 'job_id' => (int) $id]);
            case 'POST batches':
                $this->memory->batches[] = $lines;
                $batch = ['batch_id' => count($this->memory->batches), 'accepted' => $lines];

                return $this->recorded('batch_accepted', $batch);
            case 'GET batches/{}':
                $total = $this->memory->batches[(int) $id - 1] ?? null;

                return $total === null ? $this->response($this->error('batch_not_found'))
                    : $this->recorded('batch', ['id' => (int) $id, 'total' => $total, 'done' => $total]);
            case 'GET batches/{}/items':
                return $this->recorded('batch_items');
            case 'DELETE batches/{}':
                return $this->recorded('batch_cancelled', ['batch_id' => (int) $id]);
            case 'PUT credentials':
                return $this->recorded('credentials_set', array_intersect_key($json, ['company_id' => true, 'portal' => true]));
            case 'DELETE credentials':
                return $this->recorded('credentials_removed', array_intersect_key($query, ['company_id' => true, 'portal' => true]));
        }
        if ($part[0] === 'robot') {
            return $this->ofSession('robot', $query['session_id']);
        }

        return $this->response($this->error('not_found'));
    }

    private function actionOf(array $json): Response
    {
        if (isset($json['session_id'])) {
            return $this->ofSession('action', $json['session_id']);
        }
        [$company, $portal] = [(int) $json['company_id'], $json['portal']];
        $session = $this->memory->active($company, $portal);
        if ($session && ! empty($json['force_new'])) {
            $this->ends($session, 'closed');
            $session = null;
        }
        if ($session) {
            return $this->ofSession('login_reused', $session);
        }
        $session = $this->memory->open($company, $portal);

        return isset($this->headers['Prefer'])
            ? $this->recorded('login_queued', $this->memory->sessions[$session])
            : $this->ofSession('login', $session);
    }

    /** What is recorded, for a session that is active; else how it ended. */
    private function ofSession(string $name, string $session, array $more = []): Response
    {
        $known = $this->memory->sessions[$session] ?? null;
        if (! $known) {
            return $this->response($this->error('session_not_found'));
        }
        if ($known['state'] !== 'active') {
            $gone = $this->error('session_'.$known['state']);
            $gone['body'] = $this->fill($gone['body'], ['state' => $known['state']]);

            return $this->response($gone);
        }
        // state is what the answer says it is: that of a close is "closed".
        return $this->recorded($name, $more + array_diff_key($known, ['state' => true]));
    }

    private function recorded(string $name, array $values = []): Response
    {
        $answer = $this->answers()[$name];
        $answer['body'] = $this->fill($answer['body'], $values);

        return $this->response($answer);
    }

    /** The values of these members, and no other byte, are replaced. */
    private function fill(string $body, array $values): string
    {
        foreach ($values as $name => $value) {
            $member = '/("'.preg_quote($name, '/').'": ?)("(?:[^"\\\\]|\\\\.)*"|-?\d+|null)/';
            $body = preg_replace_callback($member, function ($found) use ($value) {
                return $found[1].json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
            }, $body);
        }

        return $body;
    }

    private function response(array $answer): Response
    {
        return new Response(new Psr7Response($answer['status'], $answer['headers'], $answer['body']));
    }

    private function error(string $code, ?int $status = null): array
    {
        foreach (["error_{$code}_$status", "error_$code"] as $name) {
            if (isset($this->answers()[$name])) {
                return $this->answers()[$name];
            }
        }
        throw new InvalidArgumentException("Chasqui has no error $code".($status ? " with the status $status" : ''));
    }

    private function answers(): array
    {
        return self::$answers = self::$answers
            ?? json_decode(file_get_contents(__DIR__.'/../../resources/fixtures/answers.json'), true);
    }

    private function logins(int $company, ?string $portal): array
    {
        return $this->calls(function ($call) use ($company, $portal) {
            $all = $call['path'] === 'jobs/execute' ? [$call['json']] : ($call['path'] === 'batches' ? $call['lines'] : []);
            foreach ($all as $one) {
                $of = $one['portal'] ?? $call['query']['portal'] ?? null;
                if (! isset($one['session_id']) && (int) $one['company_id'] === $company && ($portal === null || $of === $portal)) {
                    return true;
                }
            }

            return false;
        });
    }
}
