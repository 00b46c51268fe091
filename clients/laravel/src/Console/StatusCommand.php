<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Console;

use Chasqui\Laravel\Chasqui;
use Chasqui\Laravel\Exceptions\Failure;
use Illuminate\Console\Command;

class StatusCommand extends Command
{
    protected $signature = 'chasqui:status
        {batch? : The id of a batch, whose progress is shown instead}';

    protected $description = 'Says whether this application can use Chasqui, or how far a batch is';

    public function handle(Chasqui $chasqui): int
    {
        try {
            return $this->argument('batch') === null ? $this->checks($chasqui) : $this->batch($chasqui);
        } catch (Failure $why) {
            $this->error($why->getMessage());

            return 1;
        }
    }

    private function batch(Chasqui $chasqui): int
    {
        $batch = $chasqui->batchStatus((int) $this->argument('batch'));
        $this->table(['', ''], array_merge([['status', $batch['status']], ['total', $batch['total']]], array_map(
            function ($name, $count) {
                return [$name, $count];
            },
            array_keys($batch['counts']),
            $batch['counts']
        ), [['finished_at', $batch['finished_at'] ?? '-']]));

        return 0;
    }

    private function checks(Chasqui $chasqui): int
    {
        $chasqui->jobs(['limit' => 1]);
        $this->info('ok       '.config('chasqui.url').' answers, and takes the token');
        $bad = 0;

        foreach ((array) config('chasqui.replace') as $theirs => $ours) {
            $is = is_a($theirs, $ours, true);
            $bad += $is ? 0 : 1;
            $is ? $this->info("ok       $theirs is $ours") : $this->error("wrong    $theirs is not $ours: clear the cached configuration");
        }

        $file = config('chasqui.webhook_secret_file');
        if (config('chasqui.webhook_path') === null) {
            $this->line('off      webhooks: chasqui.webhook_path is not set');
        } elseif (config('chasqui.webhook_secret') || ($file && is_readable($file))) {
            $this->info('ok       webhooks at '.route('chasqui.webhook'));
        } else {
            $bad++;
            $this->error('wrong    webhooks: '.($file ? "$file cannot be read" : 'CHASQUI_WEBHOOK_SECRET is not set'));
        }

        return $bad ? 1 : 0;
    }
}
