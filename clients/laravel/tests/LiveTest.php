<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\Exceptions;
use Symfony\Component\HttpFoundation\StreamedResponse;

/** With a Chasqui that runs, at CHASQUI_URL with CHASQUI_TOKEN; company 7 is nobody else's. */
class LiveTest extends TestCase
{
    private const LOGIN = ['ruc' => '20100000007', 'usuario' => 'DEMO', 'clave' => 'demo'];

    protected function setUp(): void
    {
        parent::setUp();
        if (! getenv('CHASQUI_URL')) {
            $this->markTestSkipped('CHASQUI_URL names no Chasqui');
        }
    }

    public function test_a_session_from_its_log_in_to_its_end()
    {
        $chasqui = app(Chasqui::class);
        $session = $chasqui->login(7, 'sunat', null, self::LOGIN)['session_id'];
        $this->assertTrue($chasqui->login(7, 'sunat', null, self::LOGIN)['reused']);
        $this->assertSame($session, $chasqui->active(7, 'sunat')['session_id']);
        $this->assertSame(7, $chasqui->session($session)['company_id']);
        $this->assertTrue($chasqui->touch($session)['ok']);
        $item = $chasqui->buzon($session, 2)['items'][0];

        $path = tempnam(sys_get_temp_dir(), 'chasqui');
        $this->assertSame($item['size'], $chasqui->saveAs($session, $item['file_token'], $path));
        $streamed = $chasqui->stream($session, $item['file_token']);
        $this->assertInstanceOf(StreamedResponse::class, $streamed);
        $this->assertSame('application/pdf', $streamed->headers->get('Content-Type'));
        ob_start();
        $streamed->sendContent();
        $this->assertSame(file_get_contents($path), ob_get_clean());
        unlink($path);

        $this->assertSame('closed', $chasqui->close($session)['state']);
        foreach (['buzon', 'close'] as $call) {
            try {
                $chasqui->$call($session);
                $this->fail();
            } catch (Exceptions\SessionGone $gone) {
                $this->assertSame('session_closed', $gone->error());
            }
        }
    }

    public function test_refusals()
    {
        $chasqui = app(Chasqui::class);
        foreach ([
            [Exceptions\RobotRefused::class, function () use ($chasqui) { $chasqui->login(8, 'sunat', null, ['clave' => 'wrong']); }],
            [Exceptions\NotFound::class, function () use ($chasqui) { $chasqui->session('nobody'); }],
            [Exceptions\NotFound::class, function () use ($chasqui) { $chasqui->job(999999); }],
            [Exceptions\ValidationFailed::class, function () use ($chasqui) { $chasqui->login(8, 'sunat', 'sunat.none'); }],
            [Exceptions\Unauthenticated::class, function () use ($chasqui) { $chasqui->withToken('1|no')->active(8, 'sunat'); }],
            [Exceptions\RequestRefused::class, function () use ($chasqui) { $chasqui->robot('s', 'GET', '/sunat/other/x')->throw(); }],
        ] as [$class, $call]) {
            try {
                $call();
                $this->fail("no $class");
            } catch (Exceptions\Failure $failure) {
                $this->assertInstanceOf($class, $failure);
                $this->assertNotEmpty($failure->requestId());
            } catch (\Illuminate\Http\Client\RequestException $why) {
                $this->assertSame(404, $why->response->status(), 'the robot()\'s answer is left to the caller');
            }
        }
        $refused = null;
        try {
            $chasqui->login(8, 'sunat', null, ['clave' => 'wrong']);
        } catch (Exceptions\RobotRefused $refused) {
        }
        $this->assertNotEmpty($refused->robot()['error']);
    }

    public function test_jobs_batches_and_credentials()
    {
        $chasqui = app(Chasqui::class);
        $chasqui->setCredentials(9, 'sunat', self::LOGIN);
        $batch = $chasqui->idempotent('live-'.getmypid())->batch('sunat', 'sunat.menu_sol_login', [['company_id' => 9]], [
            'name' => 'de mañana',
            'priority' => 7,
        ]);
        $this->assertSame(1, $batch['accepted']);
        for ($i = 0; $i < 1200 && ! ($status = $chasqui->batchStatus($batch['batch_id']))['finished_at']; $i++) {
            usleep(100000);
        }
        $this->assertSame(1, $status['counts']['done']);
        $item = $chasqui->batchItems($batch['batch_id'])['items'][0];
        $this->assertSame(9, $item['company_id']);
        $this->assertSame('done', $chasqui->job($item['job_id'])['status']);
        $this->assertContains($item['job_id'], array_column($chasqui->jobs(['company_id' => 9])['jobs'], 'id'));
        $queued = $chasqui->queued()->login(9, 'sunat', null, [], ['force_new' => true]);
        $this->assertArrayHasKey('job_id', $queued);
        $chasqui->forgetCredentials(9, 'sunat');
        $this->expectException(Exceptions\Conflict::class);
        $chasqui->cancelJob($item['job_id']);
    }

    /** Members, their order and the types of their values, of every answer of this walk. */
    public function test_the_fake_has_the_same_shapes()
    {
        $walk = function (Chasqui $chasqui) {
            $chasqui->setCredentials(6, 'sunat', self::LOGIN);
            $seen = ['login' => $chasqui->login(6, 'sunat', null, self::LOGIN), 'again' => $chasqui->login(6, 'sunat')];
            $session = $seen['login']['session_id'];
            $seen += [
                'active' => $chasqui->active(6, 'sunat'),
                'session' => $chasqui->session($session),
                'touch' => $chasqui->touch($session),
                'list' => $chasqui->buzon($session),
                'job' => $chasqui->job($seen['login']['job_id']),
                'jobs' => $chasqui->jobs(['company_id' => 6]),
                'batch' => $chasqui->batch('sunat', 'sunat.menu_sol_login', [['company_id' => 6]]),
                'close' => $chasqui->close($session),
                'forget' => $chasqui->forgetCredentials(6, 'sunat'),
            ];
            foreach (['buzon', 'close', 'session'] as $call) {
                try {
                    $chasqui->$call($session);
                } catch (Exceptions\SessionGone $gone) {
                    $seen["gone $call"] = [get_class($gone), $gone->body()];
                }
            }

            return $seen;
        };
        $live = $walk(app(Chasqui::class));
        $fake = $walk(Chasqui::fake());
        foreach ($live as $name => $answer) {
            $this->assertSame($this->shape($answer), $this->shape($fake[$name]), $name);
        }
        $this->assertSame(array_keys($live), array_keys($fake));
    }

    /** @return mixed the same with a type for each value; of a list only its first element counts */
    private function shape($value)
    {
        if (! is_array($value)) {
            return gettype($value);
        }
        $isList = $value !== [] && array_keys($value) === range(0, count($value) - 1);

        return array_map([$this, 'shape'], $isList ? array_slice($value, 0, 1) : $value);
    }
}
