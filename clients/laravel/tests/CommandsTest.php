<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Facades\Chasqui;
use Illuminate\Support\Facades\Artisan;

class CommandsTest extends TestCase
{
    private function login(string $csv, array $options = []): int
    {
        $file = tempnam(sys_get_temp_dir(), 'chasqui');
        file_put_contents($file, $csv);
        try {
            return Artisan::call('chasqui:login', ['file' => $file] + $options);
        } finally {
            unlink($file);
        }
    }

    public static function sheets(): array
    {
        $wanted = [
            ['company_id' => 1, 'params' => ['usuario' => 'ÑAÑA', 'clave' => 'a;b,c']],
            ['company_id' => 20131],
        ];

        return [
            'commas' => ["company_id,usuario,clave\n1,ÑAÑA,\"a;b,c\"\n20131,,\n", $wanted],
            'semicolons and a byte order mark' => ["\xEF\xBB\xBFcompany_id;usuario;clave\r\n1;ÑAÑA;\"a;b,c\"\r\n\r\n20131;;\r\n", $wanted],
            'tabs' => ["company_id\tusuario\tclave\n 1\tÑAÑA\ta;b,c\n20131\t\t\n", $wanted],
            'Windows-1252' => ["company_id,usuario,clave\n1,\xD1A\xD1A,\"a;b,c\"\n20131,,\n", $wanted],
            'ids only' => ["company_id\n5\n6", [['company_id' => 5], ['company_id' => 6]]],
        ];
    }

    /** @dataProvider sheets */
    public function test_what_spreadsheets_write(string $csv, array $items)
    {
        $fake = Chasqui::fake();
        $this->assertSame(0, $this->login($csv, ['--key' => 'k', '--name' => 'de hoy', '--priority' => '0']));
        $fake->assertBatch(function (array $sent, array $query) use ($items) {
            return $sent === $items && $query === [
                'portal' => 'sunat', 'action' => 'sunat.menu_sol_login', 'name' => 'de hoy', 'priority' => '0',
            ];
        });
        $this->assertStringContainsString('2 logged in, 0 failed', Artisan::output());
    }

    public function test_a_sheet_that_is_wrong_sends_nothing()
    {
        $fake = Chasqui::fake();
        foreach ([
            'usuario,clave' => 'one of them company_id',
            '' => 'one of them company_id',
            "company_id,clave\n1,x\n2" => 'Line 3 has 1 cells',
            "company_id\n1\nx7" => 'Line 3 has no company_id',
            "company_id\n0" => 'Line 2 has no company_id',
        ] as $csv => $why) {
            $this->assertSame(1, $this->login($csv));
            $this->assertStringContainsString($why, Artisan::output());
        }
        $this->assertSame(1, Artisan::call('chasqui:login', ['file' => '/nowhere/x.csv']));
        $this->assertSame(1, Artisan::call('chasqui:login'));
        $this->assertSame(1, Artisan::call('chasqui:login', ['--company' => ['x']]));
        $fake->assertNothingSent();
    }

    public function test_companies_by_their_ids()
    {
        $fake = Chasqui::fake()->failsWith('no_dispatcher', 'batches/1');
        $this->assertSame(0, Artisan::call('chasqui:login', ['--company' => ['3', '4'], '--portal' => 'sunafil']));
        $fake->assertLoggedIn(4, 'sunafil');
        Chasqui::fake()->failsWith('queue_full');
        $this->assertSame(1, Artisan::call('chasqui:login', ['--company' => ['3']]));
        $this->assertStringContainsString('queue_full: ', Artisan::output());
    }

    public function test_status()
    {
        config(['chasqui.replace' => [], 'chasqui.webhook_secret' => 'x']);
        Chasqui::fake();
        $this->assertSame(0, Artisan::call('chasqui:status'));
        $this->assertStringContainsString('/api/hooks/chasqui', Artisan::output());
        config(['chasqui.webhook_secret' => null, 'chasqui.webhook_secret_file' => '/nowhere']);
        $this->assertSame(1, Artisan::call('chasqui:status'));
        Chasqui::fake()->failsWith('unauthenticated');
        $this->assertSame(1, Artisan::call('chasqui:status'));
        $this->assertStringContainsString('Set CHASQUI_TOKEN', Artisan::output());
        $this->assertSame(1, Artisan::call('chasqui:status', ['batch' => 9]));
    }
}
