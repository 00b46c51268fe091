<?php

// SPDX-License-Identifier: MIT

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\DB;

/** Rows of Chasqui have no user and no payload: columns of that name become NULL-able, and stay in every other way as they are. */
return new class extends Migration
{
    public function up()
    {
        $table = '`'.DB::getTablePrefix().'portal_jobs`';
        $definition = array_values((array) DB::selectOne("SHOW CREATE TABLE $table"))[1];
        foreach (['user_id', 'payload'] as $name) {
            if (preg_match("/^ *(`$name` .*? )NOT NULL(.*?),?\$/m", $definition, $column) && strpos($column[2], ' DEFAULT ') === false) {
                DB::statement("ALTER TABLE $table MODIFY {$column[1]}NULL{$column[2]}");
            }
        }
    }

    /** Rows of Chasqui may be there. */
    public function down()
    {
    }
};
