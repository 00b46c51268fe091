<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use Chasqui\Laravel\Exceptions;
use Chasqui\Laravel\Exceptions\Codes;
use Chasqui\Laravel\Exceptions\Failure;
use GuzzleHttp\Exception\ConnectException;
use GuzzleHttp\Psr7\Request;
use Illuminate\Http\Client\Factory;
use Illuminate\Http\Request as LaravelRequest;
use Illuminate\Support\Facades\Http;
use Illuminate\Validation\ValidationException;

class ExceptionsTest extends TestCase
{
    private function caught(int $status, $body, array $headers = []): Failure
    {
        Http::swap(new Factory());
        Http::fake(['*' => Http::response($body, $status, $headers)]);
        try {
            $this->chasqui()->buzon('s');
        } catch (Failure $failure) {
            return $failure;
        }
        $this->fail("$status is no exception");
    }

    public static function codes(): array
    {
        return array_combine(array_keys(Codes::ALL), array_map(null, array_keys(Codes::ALL), array_column(Codes::ALL, 0)));
    }

    /** @dataProvider codes */
    public function test_each_code_has_its_exception_and_says_what_to_do(string $code, string $class)
    {
        $failure = $this->caught(is_a($class, Exceptions\TryLater::class, true) ? 503 : 400, [
            'ok' => false, 'error' => $code, 'message' => 'So it is.', 'request_id' => 'r-7',
        ], ['Retry-After' => '5']);

        $this->assertSame($code === 'rate_limited' ? Exceptions\TryLater::class : $class, get_class($failure));
        $this->assertSame($code, $failure->error());
        $this->assertSame('r-7', $failure->requestId());
        $this->assertSame("$code: So it is. {$failure->advice()} (request r-7)", $failure->getMessage());
        $this->assertMatchesRegularExpression('/^[A-Z].{8,}\.$/', $failure->advice());
    }

    public function test_what_can_be_tried_again_says_when()
    {
        $failure = $this->caught(503, ['ok' => false, 'error' => 'no_free_worker', 'message' => 'x'], ['Retry-After' => '5']);
        $this->assertInstanceOf(Exceptions\TryLater::class, $failure);
        $this->assertSame(5, $failure->retryAfter());
        $this->assertSame(5, $failure->retryAfter);
    }

    public function test_a_rate_limit_is_one_of_them()
    {
        $failure = $this->caught(429, ['ok' => false, 'error' => 'rate_limited', 'message' => 'x'], ['Retry-After' => '41']);
        $this->assertInstanceOf(Exceptions\RateLimited::class, $failure);
        $this->assertInstanceOf(Exceptions\TryLater::class, $failure);
        $this->assertSame(41, $failure->retryAfter());
    }

    public function test_a_robot_that_keeps_its_session_is_tried_later_and_one_that_lost_it_is_not()
    {
        $kept = $this->caught(503, ['ok' => false, 'error' => 'robot_unreachable', 'message' => 'x'], ['Retry-After' => '5']);
        $this->assertInstanceOf(Exceptions\TryLater::class, $kept);
        $this->assertStringContainsString('the session is kept', $kept->getMessage());
    }

    public function test_the_session_that_took_its_place()
    {
        $gone = $this->caught(410, ['ok' => false, 'error' => 'session_lost', 'message' => 'x', 'successor_session_id' => 'new']);
        $this->assertInstanceOf(Exceptions\SessionGone::class, $gone);
        $this->assertSame('new', $gone->successor());
    }

    public function test_validation_is_laravels()
    {
        $failure = $this->caught(422, [
            'ok' => false, 'error' => 'validation_failed', 'message' => 'x', 'errors' => ['page' => ['is no integer']],
        ]);
        $this->assertInstanceOf(ValidationException::class, $failure);
        $this->assertSame(['page' => ['is no integer']], $failure->errors());
        $this->assertSame(422, $failure->status);
    }

    /** A proxy's page, a body that is no object, an empty one, a code that is newer than this package. */
    public function test_answers_that_are_not_chasquis()
    {
        $this->assertInstanceOf(Exceptions\TryLater::class, $this->caught(502, '<html>Bad Gateway</html>'));
        $this->assertSame('http_500', $this->caught(500, '[1,2]')->error());
        $this->assertSame('http_404', $this->caught(404, '')->error());
        $later = $this->caught(503, '{"ok":false,"error":"moon_phase","message":"x"}', ['Retry-After' => '9']);
        $this->assertSame(['moon_phase', 9], [$later->error(), $later->retryAfter()]);
        $this->assertInstanceOf(Exceptions\SessionGone::class, $this->caught(410, '{"error":["x"]}'));
    }

    public function test_no_broker()
    {
        Http::fake(function () {
            throw new ConnectException('Connection refused', new Request('GET', '/'));
        });
        try {
            $this->chasqui()->active(1, 'sunat');
            $this->fail();
        } catch (Exceptions\BrokerUnreachable $why) {
            $this->assertSame(5, $why->retryAfter());
            $this->assertStringContainsString('http://chasqui.test', $why->getMessage());
        }
    }

    /** What is the user's becomes the application's answer; a token that is wrong here must not log users out there. */
    public function test_answers_of_the_application()
    {
        $request = LaravelRequest::create('/', 'GET', [], [], [], ['HTTP_ACCEPT' => 'application/json']);
        $full = $this->caught(503, ['ok' => false, 'error' => 'queue_full', 'message' => 'x'], ['Retry-After' => '1']);
        $response = $full->render($request);
        $this->assertSame([503, '1'], [$response->status(), $response->headers->get('Retry-After')]);
        $this->assertSame('queue_full', $response->getData()->error);
        $this->assertFalse($full->render(LaravelRequest::create('/')));
        $this->assertFalse($this->caught(401, ['ok' => false, 'error' => 'unauthenticated', 'message' => 'x'])->render($request));
    }
}
