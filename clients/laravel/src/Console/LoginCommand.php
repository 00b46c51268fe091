<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Console;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\Exceptions\Failure;
use Chasqui\Laravel\Exceptions\TryLater;
use Illuminate\Console\Command;
use InvalidArgumentException;

/**
 * Log-ins by the thousand, by Chasqui's queue: one call instead of a Laravel job a company. The batch goes on whatever becomes
 * of this command; it only looks.
 */
class LoginCommand extends Command
{
    private const SHOWN_FAILURES = 20;

    protected $signature = 'chasqui:login
        {file? : A CSV file whose first line names its columns: company_id, and params (ruc, usuario, clave). "-" is standard input}
        {--company=* : A company that is logged in with its stored credentials. May be given more than once}
        {--portal=sunat}
        {--action= : Unless it is the portal\'s log-in}
        {--name= : What the batch is called on the dashboard}
        {--priority= : 0 to 9, 9 first; 5 unless given}
        {--key= : An idempotency key: the same key within 24 hours is the same batch}
        {--callback= : A URL that is told of the end; true to webhook.allow of Chasqui}
        {--detach : Do not wait for the end}';

    protected $description = 'Logs companies in by Chasqui\'s queue, and shows how far it is';

    public function handle(Chasqui $chasqui): int
    {
        try {
            return $this->login($chasqui);
        } catch (Failure | InvalidArgumentException $why) {
            $this->error($why->getMessage());

            return 1;
        }
    }

    private function login(Chasqui $chasqui): int
    {
        $portal = $this->option('portal');
        $action = $this->option('action') ?: Chasqui::loginAction($portal);
        $query = array_filter([
            'name' => $this->option('name'),
            'priority' => $this->option('priority'),
            'callback_url' => $this->option('callback'),
        ], 'strlen');
        if ($this->argument('file') === null && ! $this->option('company')) {
            throw new InvalidArgumentException('Name a file, or companies with --company.');
        }
        if ($this->option('key')) {
            $chasqui = $chasqui->idempotent($this->option('key'));
        }

        $batch = $chasqui->batch($portal, $action, $this->items(), $query);
        $this->info("Batch {$batch['batch_id']}: {$batch['accepted']} log-ins are queued, {$batch['rejected_total']} were rejected.");
        foreach (array_slice($batch['rejected'], 0, self::SHOWN_FAILURES) as $one) {
            $this->error("item {$one['index']}: {$one['error']}");
        }
        if ($this->option('detach')) {
            $this->line("php artisan chasqui:status {$batch['batch_id']} shows how far it is.");

            return $batch['rejected_total'] ? 1 : 0;
        }

        return $this->follow($chasqui, $batch['batch_id']) || $batch['rejected_total'] ? 1 : 0;
    }

    private function items(): iterable
    {
        foreach ($this->option('company') as $company) {
            if (! ctype_digit((string) $company)) {
                throw new InvalidArgumentException("--company=$company is no number.");
            }
            yield ['company_id' => (int) $company];
        }
        if ($this->argument('file') !== null) {
            yield from Companies::fromFile($this->argument('file'));
        }
    }

    /** Shows the progress until the end; answers how many were not logged in. */
    private function follow(Chasqui $chasqui, int $id): int
    {
        $bar = null;
        do {
            try {
                $batch = $chasqui->batchStatus($id);
            } catch (TryLater $later) { // the batch goes on meanwhile
                sleep(max(1, $later->retryAfter()));
                continue;
            }
            $counts = $batch['counts'];
            if (! $bar) {
                $bar = $this->output->createProgressBar($batch['total']);
                $bar->setFormat('%current%/%max% [%bar%] %percent:3s%% %message%');
            }
            $bar->setMessage("{$counts['running']} running, {$counts['failed']} failed".
                (isset($batch['eta_s']) ? ", about {$batch['eta_s']} s left" : ''));
            $bar->setProgress($counts['done'] + $counts['failed'] + $counts['cancelled']);
            if (! $batch['finished_at']) {
                usleep(1000 * (int) config('chasqui.look_ms', 1000));
            }
        } while (! ($batch['finished_at'] ?? null));
        $bar->finish();
        $this->newLine();
        $this->info("{$batch['status']}: {$counts['done']} logged in, {$counts['failed']} failed, {$counts['cancelled']} cancelled.");
        if ($counts['failed']) {
            $items = $chasqui->batchItems($id, ['status' => 'failed', 'limit' => self::SHOWN_FAILURES])['items'];
            $this->table(['company', 'error', 'robot said'], array_map(function ($item) {
                return [$item['company_id'], $item['error'], $item['robot_message'] ?? $item['robot_error'] ?? ''];
            }, $items));
            if ($counts['failed'] > count($items)) {
                $this->line('and '.($counts['failed'] - count($items)).' more.');
            }
        }

        return $counts['failed'] + $counts['cancelled'];
    }
}
