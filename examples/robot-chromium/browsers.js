// SPDX-License-Identifier: MIT
//
// browsers.js - the Chromium processes, and one browser context (own cookies, own storage) for each session.
//
// Owns: the processes and their profile directories. A browser holds at most `perBrowser` contexts. One that grows
// beyond `memoryMb` takes no new context, and is ended when it holds none, or at once beyond twice the limit. A browser
// that crashed is gone with its contexts: `onGone(context)` is called for each of them, and the next session starts a
// new one.

import { readFile, readdir, rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const LOOK_EVERY_MS = 5000;
const FLAGS = [
  '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--mute-audio', '--window-size=1280,800',
];

// Memory of a process and its descendants in MiB. What they share counts once (proportional set size).
async function treeMemory(root) {
  const children = new Map(); // parent -> its children
  for (const pid of (await readdir('/proc')).filter((entry) => /^[0-9]+$/.test(entry))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(pid)]);
  }
  const family = [root];
  for (let i = 0; i < family.length; i++) family.push(...(children.get(family[i]) ?? []));
  let kib = 0;
  for (const pid of family) kib += Number(/^Pss:\s+([0-9]+)/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => ''))?.[1] ?? 0);
  return kib / 1024;
}

export class Browsers {
  constructor({ executable, perBrowser, memoryMb, onGone, log }) {
    Object.assign(this, { executable, perBrowser, memoryMb, onGone, log });
    this.all = new Set(); // { browser, profile, contexts: Set, isRetired, memoryMb }
    this.launching = null;
    this.timer = setInterval(() => this.look().catch((error) => log('memory_unknown', { why: error.message })), LOOK_EVERY_MS);
    this.timer.unref();
  }

  async launch() {
    const profile = await mkdtemp(join(tmpdir(), 'robot-chromium-'));
    const browser = await puppeteer.launch({
      executablePath: this.executable,
      headless: true,
      pipe: true, // Chromium ends when this process does, however it dies
      userDataDir: profile,
      args: process.getuid() === 0 ? [...FLAGS, '--no-sandbox'] : FLAGS,
      handleSIGINT: false,
      handleSIGTERM: false,
    });
    const entry = { browser, profile, contexts: new Set(), isRetired: false, memoryMb: 0 };
    this.all.add(entry);
    browser.once('disconnected', () => {
      this.all.delete(entry);
      rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }).catch(() => {});
      if (entry.contexts.size) this.log('browser_gone', { pid: browser.process()?.pid, sessions: entry.contexts.size });
      for (const context of entry.contexts) this.onGone(context);
    });
    this.log('browser_started', { pid: browser.process().pid });
    return entry;
  }

  // A browser with room, in which `mine` has its place already: nobody who asks at the same time takes it too. Only one is
  // started at a time: those who ask meanwhile share it while it has room.
  async placeFor(mine) {
    for (;;) {
      const found = [...this.all].find((entry) => !entry.isRetired && entry.contexts.size < this.perBrowser);
      if (found) {
        found.contexts.add(mine);
        return found;
      }
      this.launching ??= this.launch().finally(() => (this.launching = null));
      await this.launching;
    }
  }

  // A fresh context with one page in it: { context, page }.
  async open() {
    const mine = {};
    const entry = await this.placeFor(mine);
    try {
      mine.pid = entry.browser.process().pid;
      mine.context = await entry.browser.createBrowserContext();
      mine.page = await mine.context.newPage();
      await mine.page.setViewport({ width: 1280, height: 800 });
      mine.close = async () => {
        entry.contexts.delete(mine);
        await mine.context.close().catch(() => {});
        if (entry.isRetired && !entry.contexts.size) await entry.browser.close().catch(() => {});
      };
      return mine;
    } catch (error) {
      entry.contexts.delete(mine);
      throw error;
    }
  }

  async look() {
    for (const entry of this.all) {
      entry.memoryMb = await treeMemory(entry.browser.process().pid);
      if (entry.memoryMb <= this.memoryMb) continue;
      if (!entry.isRetired) this.log('browser_retired', { pid: entry.browser.process().pid, memory_mb: Math.round(entry.memoryMb) });
      entry.isRetired = true;
      if (!entry.contexts.size || entry.memoryMb > 2 * this.memoryMb) entry.browser.process().kill('SIGKILL');
    }
  }

  async close() {
    clearInterval(this.timer);
    await Promise.all([...this.all].map(({ browser }) => browser.close().catch(() => {})));
  }
}
