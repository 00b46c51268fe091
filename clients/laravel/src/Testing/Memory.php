<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Testing;

/** What a ChasquiFake and its copies know. */
class Memory
{
    public $calls = [];

    public $failures = [];

    public $mailbox;

    /** Items of each batch; the first batch has the id 1. */
    public $batches = [];

    /** By session id: ['session_id', 'job_id', 'job_uid', 'company_id', 'portal', 'state', 'viewer_url']. */
    public $sessions = [];

    public function open(int $company, string $portal): string
    {
        $number = count($this->sessions) + 1;
        $session = sprintf('%032x', $number);
        $this->sessions[$session] = [
            'session_id' => $session,
            'job_id' => $number,
            'job_uid' => sprintf('FAKE%08d-1700000000', $number),
            'company_id' => $company,
            'portal' => $portal,
            'state' => 'active',
            'viewer_url' => "https://viewer.example/viewer/$session",
        ];

        return $session;
    }

    public function active(int $company, string $portal): ?string
    {
        foreach ($this->sessions as $id => $one) {
            if ([$one['company_id'], $one['portal'], $one['state']] === [$company, $portal, 'active']) {
                return $id;
            }
        }

        return null;
    }

    /** What a job's answer shows of it; $job is its id or uid. */
    public function job(string $job): ?array
    {
        foreach ($this->sessions as $one) {
            if ((string) $one['job_id'] === $job || $one['job_uid'] === $job) {
                return ['id' => $one['job_id']] + array_intersect_key($one, array_flip(['job_uid', 'company_id', 'portal', 'session_id']));
            }
        }

        return null;
    }
}
