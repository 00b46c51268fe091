<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\DropIn\RobotClient;
use Chasqui\Laravel\DropIn\RobotSessionService;
use Chasqui\Laravel\Exceptions;
use Chasqui\Laravel\Facades\Chasqui as Facade;
use PHPUnit\Framework\AssertionFailedError;

class FakeTest extends TestCase
{
    public function test_a_session_is_met_again_and_is_gone_when_it_was_closed()
    {
        $fake = Facade::fake();
        $chasqui = app(Chasqui::class);
        $login = $chasqui->login(7, 'sunat', null, ['clave' => 'x']);
        $this->assertSame(
            ['ok', 'job_id', 'job_uid', 'session_id', 'viewer_url', 'robot'],
            array_keys($login),
            'the members of a log-in, in their order'
        );
        $again = $chasqui->withToken('2|user')->login(7, 'sunat');
        $this->assertSame([true, $login['session_id'], $login['job_id']], [$again['reused'], $again['session_id'], $again['job_id']]);
        $this->assertNotSame($login['session_id'], $chasqui->login(8, 'sunat')['session_id']);
        $this->assertSame($login['session_id'], $chasqui->active(7, 'sunat')['session_id']);
        $this->assertSame(7, $chasqui->session($login['session_id'])['company_id']);
        $this->assertSame('done', $chasqui->job($login['job_id'])['status']);
        $this->assertSame(2, $chasqui->buzon($login['session_id'], 2)['page']);
        $this->assertNotEmpty($chasqui->buzon($login['session_id'])['items']);
        $this->assertSame('%PDF', substr($chasqui->download($login['session_id'], 't')->body(), 0, 4));

        $this->assertSame('closed', $chasqui->close($login['session_id'])['state']);
        $fake->assertClosed($login['session_id']);
        $fake->assertLoggedIn(7, 'sunat');
        $fake->assertNotLoggedIn(9);
        $this->expectException(Exceptions\SessionGone::class);
        $chasqui->buzon($login['session_id']);
    }

    public function test_failures_are_those_of_chasqui()
    {
        $fake = Facade::fake()->failsWith('no_free_worker', 'jobs/execute')->failsWith('robot_unreachable', 'buzon/*', 1, 503);
        try {
            Facade::login(1, 'sunat');
            $this->fail();
        } catch (Exceptions\TryLater $why) {
            $this->assertSame(['no_free_worker', 5], [$why->error(), $why->retryAfter()]);
        }
        $session = Facade::login(1, 'sunat')['session_id'];
        foreach ([Exceptions\TryLater::class, null] as $class) {
            try {
                Facade::buzon($session);
                $this->assertNull($class);
            } catch (Exceptions\Failure $why) {
                $this->assertInstanceOf($class, $why);
            }
        }
        $fake->ends($session, 'lost');
        try {
            Facade::buzon($session);
            $this->fail();
        } catch (Exceptions\SessionGone $gone) {
            $this->assertSame('session_lost', $gone->error());
        }
        $fake->failsWith('validation_failed');
        $this->expectException(\Illuminate\Validation\ValidationException::class);
        Facade::login(1, 'sunat');
    }

    public function test_the_drop_in_classes_are_answered_too()
    {
        $session = Facade::fake()->mailbox(['ok' => true, 'items' => []])->loggedIn(7);
        $service = new RobotSessionService();
        $worker = $service->getWorkerBySession($session);
        $this->assertSame([7, 'sunat', 'https://viewer.example'], [$worker['company_id'], $worker['portal'], $worker['viewer_url']]);
        $robot = (new RobotClient())->setBaseUrl($worker['base_url']);
        $this->assertSame([], $robot->get('/sunat/buzon/list', ['session_id' => $session])->json('items'));
        $this->assertSame('%PDF', substr($robot->get('/files/abc')->body(), 0, 4));
        $this->assertSame($session, $service->getWorkerByJobId($service->getActiveSession(7, 'sunat')['job_id'])['session_id']);
        $login = $robot->post('/sunat/login', ['company_id' => 8, 'job_uid' => 'U-1', 'clave' => 'x']);
        $this->assertTrue($login->ok());
        $this->assertSame(['ok', 'session_id', 'url', 'titulo', 'viewer_url'], array_keys($login->json()));
        $this->assertTrue($service->closeSession($session));
        $this->assertFalse($service->closeSession($session));
        $this->assertNull($service->getWorkerBySession($session));
        $this->assertNull($service->getActiveSession(7, 'sunat'));
        $this->assertSame(410, $robot->get('/sunat/buzon/list', ['session_id' => $session])->status());
    }

    public function test_what_was_sent_can_be_asked()
    {
        $fake = Facade::fake();
        $fake->assertNothingSent();
        Facade::idempotent('monday')->batch('sunat', 'sunat.menu_sol_login', [['company_id' => 1], ['company_id' => 2]], ['priority' => 9]);
        $this->assertSame(2, Facade::batchStatus(1)['total']);
        $fake->assertLoggedIn(2, 'sunat');
        $fake->assertBatch(function (array $items, array $query) {
            return count($items) === 2 && $query['priority'] === 9;
        });
        $fake->assertSent(function (array $call) {
            return ($call['headers']['Idempotency-Key'] ?? null) === 'monday';
        });
        $this->expectException(AssertionFailedError::class);
        $fake->assertNothingSent();
    }

    /** Every answer is one that the client takes, and every method has one. */
    public function test_each_method_is_answered()
    {
        $fake = Facade::fake();
        $session = $fake->loggedIn(1);
        $this->assertTrue(Facade::execute(1, 'sunat', 'sunat.echo', [], ['session_id' => $session])['ok']);
        $this->assertTrue(Facade::touch($session)['ok']);
        $this->assertSame('queued', Facade::queued()->login(2, 'sunat')['status']);
        $this->assertNotEmpty(Facade::jobs()['jobs']);
        $this->assertTrue(Facade::cancelJob(1)['ok']);
        $this->assertSame(1, Facade::batch('sunat', 'sunat.menu_sol_login', [['company_id' => 1]])['accepted']);
        $this->assertNotEmpty(Facade::batchItems(1)['items']);
        $this->assertTrue(Facade::cancelBatch(1)['ok']);
        $this->assertSame(7, Facade::setCredentials(7, 'sunat', ['clave' => 'x'])['company_id']);
        $this->assertTrue(Facade::forgetCredentials(7, 'sunat')['ok']);
        $this->assertTrue(Facade::robot($session, 'GET', '/sunat/other/x')->ok());
    }
}
