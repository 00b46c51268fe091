<?php
// SPDX-License-Identifier: MIT
// The old flow at its least: one SQL look-up, one HTTP call, no framework, no token, no rate limit.
$db = new PDO('mysql:unix_socket=' . $_SERVER['DB_SOCKET'] . ';dbname=' . $_SERVER['DB_NAME'], $_SERVER['DB_USER'],
    $_SERVER['DB_PASSWORD'], [PDO::ATTR_PERSISTENT => true, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$session = (string) ($_GET['session_id'] ?? '');
$query = $db->prepare('SELECT robot_worker_base_url, portal FROM portal_jobs WHERE robot_session_id = ? ORDER BY id DESC LIMIT 1');
$query->execute([$session]);
[$base, $portal] = $query->fetch(PDO::FETCH_NUM) ?: [null, null];
if ($base === null) {
    http_response_code(404);
    exit;
}
$call = curl_init($base . '/' . $portal . '/buzon/list?session_id=' . rawurlencode($session) . '&page=' . (int) ($_GET['page'] ?? 1));
curl_setopt_array($call, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 28]);
$body = curl_exec($call);
http_response_code($body === false ? 502 : curl_getinfo($call, CURLINFO_RESPONSE_CODE));
header('Content-Type: application/json');
echo $body;
