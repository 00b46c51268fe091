<?php

// SPDX-License-Identifier: MIT

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

/** The robots' columns, each only if it is not there: `chasqui migrate` may have been first. */
return new class extends Migration
{
    public function up()
    {
        foreach (['robot_worker_base_url' => 255, 'robot_worker_viewer_url' => 255, 'robot_session_id' => 100] as $name => $length) {
            if (! Schema::hasColumn('portal_jobs', $name)) {
                Schema::table('portal_jobs', function (Blueprint $table) use ($name, $length) {
                    $table->string($name, $length)->nullable();
                });
            }
        }
        $table = DB::getTablePrefix().'portal_jobs';
        if (! DB::select("SHOW INDEX FROM `$table` WHERE Column_name = 'robot_session_id' AND Seq_in_index = 1")) {
            Schema::table('portal_jobs', function (Blueprint $table) {
                $table->index('robot_session_id', 'idx_session_id');
            });
        }
    }

    /** While Chasqui's tables are there, the columns are theirs as well. */
    public function down()
    {
        if (! Schema::hasTable('chasqui_sessions')) {
            Schema::table('portal_jobs', function (Blueprint $table) {
                $table->dropIndex('idx_session_id');
                $table->dropColumn(['robot_worker_base_url', 'robot_worker_viewer_url', 'robot_session_id']);
            });
        }
    }
};
