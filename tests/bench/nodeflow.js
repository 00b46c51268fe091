// SPDX-License-Identifier: MIT
// The old flow in Node: one look-up in MariaDB by a prepared statement, one call by undici on a kept connection. No framework, no token,
// no limit. Some processes share the port. In the environment: FLOW, JSON {port, processes, connections, database: {...}}.
const cluster = require('node:cluster');
const http = require('node:http');
const told = JSON.parse(process.env.FLOW);

if (cluster.isPrimary) {
    for (let n = 0; n < told.processes; n++) cluster.fork();
} else {
    const mariadb = require('mariadb');
    const { Agent, request } = require('undici');
    const pool = mariadb.createPool({ ...told.database, connectionLimit: told.connections, rowsAsArray: true });
    const agent = new Agent({ connections: 64, keepAliveTimeout: 600_000, headersTimeout: 28_000 });
    const query = 'SELECT robot_worker_base_url, portal FROM portal_jobs WHERE robot_session_id = ? ORDER BY id DESC LIMIT 1';
    const json = { 'Content-Type': 'application/json' };

    async function list(url, res) {
        const session = url.searchParams.get('session_id') ?? '';
        const [found] = await pool.execute(query, [session]);
        if (!found) return res.writeHead(404).end();
        const page = Number(url.searchParams.get('page') ?? 1);
        const to = `${found[0]}/${found[1]}/buzon/list?session_id=${encodeURIComponent(session)}&page=${page}`;
        const { statusCode, body } = await request(to, { dispatcher: agent });
        const text = Buffer.from(await body.arrayBuffer());
        res.writeHead(statusCode, { ...json, 'Content-Length': text.length }).end(text);
    }

    const server = http.createServer((req, res) => {
        const url = new URL(req.url, 'http://bench');
        if (url.pathname === '/healthz') return res.end();
        list(url, res).catch(() => res.headersSent ? res.destroy() : res.writeHead(502).end());
    });
    server.keepAliveTimeout = 600_000;
    server.listen(told.port, '127.0.0.1', 4096);
}
