<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Console;

use InvalidArgumentException;

/**
 * Items of a batch from a CSV file: its first line names the columns, one of them company_id; the others are params. Takes what
 * spreadsheets write: comma, semicolon or tab, a byte order mark, Windows-1252. An empty cell is left out.
 */
class Companies
{
    /** @throws InvalidArgumentException with the number of the line that is wrong */
    public static function fromFile(string $path): iterable
    {
        $file = @fopen($path === '-' ? 'php://stdin' : $path, 'rb');
        if (! $file) {
            throw new InvalidArgumentException("$path cannot be opened.");
        }
        try {
            yield from self::lines($file);
        } finally {
            fclose($file);
        }
    }

    private static function lines($file): iterable
    {
        $first = fgets($file);
        $first = $first === false ? '' : self::utf8(preg_replace('/^\xEF\xBB\xBF/', '', $first));
        $counts = array_map(function ($one) use ($first) {
            return substr_count($first, $one);
        }, [',' => ',', ';' => ';', "\t" => "\t"]);
        arsort($counts);
        $delimiter = array_key_first($counts);
        $names = array_map('trim', str_getcsv(rtrim($first, "\r\n"), $delimiter, '"', ''));
        if (! in_array('company_id', $names, true)) {
            throw new InvalidArgumentException('The first line has to name the columns, one of them company_id.');
        }
        for ($number = 2; ($cells = fgetcsv($file, 0, $delimiter, '"', '')) !== false; $number++) {
            if ($cells === [null]) {
                continue; // an empty line
            }
            if (count($cells) !== count($names)) {
                throw new InvalidArgumentException("Line $number has ".count($cells).' cells, and the first line '.count($names).'.');
            }
            $row = array_filter(array_combine($names, array_map([self::class, 'utf8'], array_map('trim', $cells))), 'strlen');
            if (! preg_match('/^[1-9]\d{0,18}\z/', $row['company_id'] ?? '')) {
                throw new InvalidArgumentException("Line $number has no company_id that is a number.");
            }
            $params = array_diff_key($row, ['company_id' => true]);
            yield ['company_id' => (int) $row['company_id']] + ($params ? ['params' => $params] : []);
        }
    }

    private static function utf8(string $text): string
    {
        return mb_check_encoding($text, 'UTF-8') ? $text : mb_convert_encoding($text, 'UTF-8', 'Windows-1252');
    }
}
