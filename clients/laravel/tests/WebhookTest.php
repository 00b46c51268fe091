<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Events\ChasquiEvent;
use Chasqui\Laravel\Events\SessionOpened;
use Chasqui\Laravel\Events\Told;
use Illuminate\Support\Facades\Event;
use RuntimeException;

class WebhookTest extends TestCase
{
    private const SECRET = '0123456789abcdef0123456789abcdef';
    private const BODY = '{"event":"session.opened","at":"2026-11-29T11:26:44.505Z","session":{"session_id":"s","company_id":7}}';

    protected function setUp(): void
    {
        parent::setUp();
        config(['chasqui.webhook_secret' => self::SECRET, 'chasqui.webhook_secret_file' => null]);
    }

    private function deliver(string $body = self::BODY, string $delivery = 'd1', array $headers = [])
    {
        $timestamp = (string) ($headers['timestamp'] ?? time());
        $signature = $headers['signature'] ?? 'v1='.hash_hmac('sha256', "$timestamp.$body", $headers['secret'] ?? self::SECRET);

        return $this->call('POST', '/api/hooks/chasqui', [], [], [], [
            'CONTENT_TYPE' => 'application/json',
            'HTTP_X_CHASQUI_TIMESTAMP' => $timestamp,
            'HTTP_X_CHASQUI_SIGNATURE' => $signature,
            'HTTP_X_CHASQUI_DELIVERY' => $delivery,
        ], $body);
    }

    public function test_an_event_is_fired_once()
    {
        Event::fake();
        $this->deliver()->assertStatus(204);
        $this->deliver()->assertStatus(204);
        Event::assertDispatchedTimes(SessionOpened::class, 1);
        Event::assertDispatched(SessionOpened::class, function (SessionOpened $event) {
            return $event->session()['company_id'] === 7 && $event->delivery === 'd1' && $event->event === 'session.opened';
        });
        $this->deliver(self::BODY, 'd2')->assertStatus(204);
        Event::assertDispatchedTimes(SessionOpened::class, 2);
    }

    public function test_what_chasqui_did_not_sign_is_refused()
    {
        Event::fake();
        foreach ([
            ['secret' => 'another secret of enough bytes'],
            ['signature' => ''],
            ['signature' => 'v1='],
            ['timestamp' => time() - 301],
            ['timestamp' => time() + 301],
            ['timestamp' => time().' '],
            ['timestamp' => ''],
        ] as $headers) {
            $this->deliver(self::BODY, 'd1', $headers)->assertStatus(403);
        }
        Event::assertNotDispatched(SessionOpened::class);
        // The signature is of the bytes, not of what they mean.
        $signature = 'v1='.hash_hmac('sha256', time().'.'.self::BODY, self::SECRET);
        $this->deliver(str_replace(',', ', ', self::BODY), 'd1', ['signature' => $signature])->assertStatus(403);
        foreach (['[1]', 'x', '{"event":7}', ''] as $body) {
            $this->deliver($body)->assertStatus(400);
        }
        $this->deliver(self::BODY, "d\n1")->assertStatus(400);
    }

    public function test_secrets_from_a_file_and_two_at_once()
    {
        $file = tempnam(sys_get_temp_dir(), 'chasqui');
        file_put_contents($file, "the secret in the file \r\n");
        config(['chasqui.webhook_secret' => ['', self::SECRET], 'chasqui.webhook_secret_file' => $file]);
        $this->deliver()->assertStatus(204);
        $this->deliver(self::BODY, 'd2', ['secret' => 'the secret in the file'])->assertStatus(204);
        $this->deliver(self::BODY, 'd3', ['secret' => ''])->assertStatus(403);
        unlink($file);
        config(['chasqui.webhook_secret' => null]);
        $this->deliver(self::BODY, 'd4', ['secret' => ''])->assertStatus(503);
    }

    public function test_a_listener_that_fails_gets_it_again()
    {
        $heard = 0;
        Event::listen(Told::class, function () use (&$heard) {
            if (++$heard === 1) {
                throw new RuntimeException('not now');
            }
        });
        $this->deliver()->assertStatus(500);
        $this->deliver()->assertStatus(204);
        $this->deliver()->assertStatus(204);
        $this->assertSame(2, $heard);
    }

    public function test_an_event_that_is_newer_than_this_package()
    {
        Event::fake();
        $this->deliver('{"event":"moon.rose","moon":{}}')->assertStatus(204);
        Event::assertDispatched(ChasquiEvent::class, function (ChasquiEvent $event) {
            return $event->payload['moon'] === [] && $event->at === null;
        });
    }
}
