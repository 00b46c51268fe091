<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Exceptions;

/** The transfer of a file broke. What was written is not the whole file. */
class DownloadCutShort extends TryLater
{
    public function __construct(int $got, int $wanted)
    {
        parent::__construct(['ok' => false, 'error' => 'download_cut_short', 'message' => "$got of $wanted bytes came."], 503, 1);
    }
}
