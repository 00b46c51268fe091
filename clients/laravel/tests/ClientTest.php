<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\DropIn\RobotClient;
use Chasqui\Laravel\Exceptions\DownloadCutShort;
use Chasqui\Laravel\Facades\Chasqui as Facade;
use GuzzleHttp\Promise\Create;
use GuzzleHttp\Psr7\Response;
use Illuminate\Support\Facades\Http;
use InvalidArgumentException;

class ClientTest extends TestCase
{
    /** The only request that was sent. */
    private function sent()
    {
        $recorded = Http::recorded();
        $this->assertCount(1, $recorded);

        return $recorded[0][0];
    }

    public function test_a_log_in()
    {
        Http::fake(['*' => Http::response(['ok' => true, 'job_id' => 1, 'session_id' => 's'])]);
        $told = $this->chasqui()->idempotent('k')->deadline(5000)->login(7, 'sunat', null, [], ['force_new' => true]);

        $this->assertSame('s', $told['session_id']);
        $this->assertSame(['POST', 'http://chasqui.test/api/v1/app/jobs/execute'], [$this->sent()->method(), $this->sent()->url()]);
        $this->assertSame('{"company_id":7,"portal":"sunat","action":"sunat.menu_sol_login","force_new":true}', $this->sent()->body());
        $headers = ['Authorization' => 'Bearer 1|secret', 'Idempotency-Key' => 'k', 'X-Deadline-Ms' => '5000'];
        foreach ($headers as $name => $value) {
            $this->assertTrue($this->sent()->hasHeader($name, $value), $name);
        }
    }

    public function test_copies_do_not_change_the_original()
    {
        Http::fake(['*' => Http::response(['ok' => true])]);
        $chasqui = $this->chasqui();
        $chasqui->withToken('2|other')->queued()->idempotent('k');
        $chasqui->login(1, 'sunat', 'sunat.menu_sol_login', ['clave' => 'ñ']);
        $this->assertTrue($this->sent()->hasHeader('Authorization', 'Bearer 1|secret'));
        $this->assertFalse($this->sent()->hasHeader('Prefer') || $this->sent()->hasHeader('Idempotency-Key'));
        $this->assertStringContainsString('"params":{"clave":"', $this->sent()->body());
    }

    public function test_a_batch_is_lines()
    {
        Http::fake(['*' => Http::response(['ok' => true, 'batch_id' => 3], 202)]);
        $items = (function () {
            yield ['company_id' => 1];
            yield ['company_id' => 2, 'params' => ['usuario' => 'ÑAÑA', 'clave' => "a\nb"]];
            yield ['company_id' => 3, 'params' => []];
        })();
        $told = $this->chasqui()->batch('sunat', 'sunat.menu_sol_login', $items, [
            'close' => true,
            'then' => [['action' => 'sunat.buzon_list']],
        ]);
        $this->assertSame(3, $told['batch_id']);
        $this->assertSame(
            '{"company_id":1}'."\n".'{"company_id":2,"params":{"usuario":"ÑAÑA","clave":"a\nb"}}'."\n".'{"company_id":3,"params":{}}'."\n",
            $this->sent()->body()
        );
        $this->assertTrue($this->sent()->hasHeader('Content-Type', 'application/x-ndjson'));
        parse_str(parse_url($this->sent()->url(), PHP_URL_QUERY), $query);
        $this->assertSame([
            'portal' => 'sunat',
            'action' => 'sunat.menu_sol_login',
            'close' => 'true',
            'then' => '[{"action":"sunat.buzon_list"}]',
        ], $query);
    }

    public function test_ids_that_are_no_paths()
    {
        Http::fake(['*' => Http::response(['ok' => true])]);
        $this->chasqui()->close('a/../b?c');
        $this->assertSame('http://chasqui.test/api/v1/app/sessions/a%2F..%2Fb%3Fc', $this->sent()->url());
    }

    public function test_a_file_that_is_cut_short_is_not_whole()
    {
        Http::fake(function () {
            return Create::promiseFor(new Response(200, ['Content-Length' => '5'], '%PD'));
        });
        $path = tempnam(sys_get_temp_dir(), 'chasqui');
        try {
            $this->chasqui()->saveAs('s', 't', $path);
            $this->fail();
        } catch (DownloadCutShort $why) {
            $this->assertStringContainsString('3 of 5 bytes', $why->getMessage());
        } finally {
            unlink($path);
        }
    }

    public function test_a_facade_and_the_container()
    {
        Http::fake(['*' => Http::response(['ok' => true])]);
        config(['chasqui.url' => 'http://elsewhere.test/', 'chasqui.token' => '9|x']);
        Facade::active(1, 'sunat');
        $this->assertSame('http://elsewhere.test/api/v1/app/sessions/active?company_id=1&portal=sunat', $this->sent()->url());
        $this->assertInstanceOf(Chasqui::class, app(Chasqui::class));
        $this->assertTrue(is_a(\Chasqui::class, Facade::class, true), 'the alias is discovered');
    }

    public function test_a_path_that_names_no_session_is_said()
    {
        $this->expectException(InvalidArgumentException::class);
        (new RobotClient())->setBaseUrl('http://10.0.0.7:9000')->get('/files/abc');
    }
}
