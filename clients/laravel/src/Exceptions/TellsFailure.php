<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

trait TellsFailure
{
    public $body = [];

    public $retryAfter = 0;

    public function error(): string
    {
        return $this->body['error'] ?? 'unknown';
    }

    public function advice(): string
    {
        return Codes::advice($this->error());
    }

    public function retryAfter(): int
    {
        return $this->retryAfter;
    }

    public function requestId(): ?string
    {
        return $this->body['request_id'] ?? null;
    }

    public function body(): array
    {
        return $this->body;
    }

    /** Laravel's log gets these beside the message. */
    public function context(): array
    {
        return ['chasqui_error' => $this->error(), 'chasqui_request' => $this->requestId(), 'retry_after' => $this->retryAfter];
    }

    protected function sentence(): string
    {
        $request = $this->requestId() === null ? '' : " (request {$this->requestId()})";

        return trim("{$this->error()}: ".($this->body['message'] ?? '')." {$this->advice()}").$request;
    }
}
