// SPDX-License-Identifier: MIT
// BullMQ: accepts n jobs in bulk, then 64 at a time do nothing. Arguments: Redis's port, n.
const { Queue, Worker } = require('bullmq');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]) };
const n = Number(process.argv[3]);
const together = 1000;
const options = { removeOnComplete: true, attempts: 3 };

async function main() {
    const queue = new Queue('bench', { connection });
    const job = (i) => ({ name: 'login', data: { company_id: i, params: { ruc: `20${i}`, usuario: 'DEMO', clave: 'demo' } }, opts: options });
    const started = performance.now();
    for (let at = 0; at < n; at += together) {
        await queue.addBulk(Array.from({ length: Math.min(together, n - at) }, (_, i) => job(at + i)));
    }
    const accepted = performance.now();
    let left = n;
    await new Promise((resolve) => {
        const worker = new Worker('bench', async () => {}, { connection, concurrency: 64 });
        worker.on('completed', () => --left || resolve(worker));
    });
    const ended = performance.now();
    console.log(JSON.stringify({ accept_per_s: (n * 1000) / (accepted - started), drain_per_s: (n * 1000) / (ended - accepted) }));
    process.exit(0);
}

main();
