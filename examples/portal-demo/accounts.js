// SPDX-License-Identifier: MIT
//
// accounts.js - who is logged in at the portal.
//
// Owns the live sessions, the failed attempts of each account, and the counters. As at the real portal, an account
// has one session: a second log-in ends the first, and that is counted as a kick. Everything is in memory.

import { randomBytes } from 'node:crypto';

const ATTEMPTS_BEFORE_LOCK = 3;
const SESSIONS_MAX = 10_000;

export class Accounts {
  constructor() {
    this.reset();
  }

  reset() {
    this.byCookie = new Map(); // cookie -> { account, since, seen }
    this.byAccount = new Map(); // "ruc/usuario" -> cookie
    this.failures = new Map(); // "ruc/usuario" -> wrong passwords in a row
    this.counts = { logins: 0, logouts: 0, kicks: 0, refused: 0 };
  }

  // Answers { cookie } or { error: 'bad_credentials' | 'account_locked' }. The password is "demo".
  login(ruc, usuario, clave) {
    const account = `${ruc}/${usuario}`;
    if ((this.failures.get(account) ?? 0) >= ATTEMPTS_BEFORE_LOCK) return { error: 'account_locked' };
    if (!/^[0-9]{5,11}$/.test(ruc) || !usuario || clave !== 'demo') {
      this.failures.set(account, (this.failures.get(account) ?? 0) + 1);
      if (this.failures.size > SESSIONS_MAX) this.failures.delete(this.failures.keys().next().value);
      this.counts.refused++;
      return { error: 'bad_credentials' };
    }
    this.failures.delete(account);
    const older = this.byAccount.get(account);
    if (older) {
      this.byCookie.delete(older);
      this.counts.kicks++;
    }
    if (this.byCookie.size >= SESSIONS_MAX) this.end(this.byCookie.keys().next().value);
    const cookie = randomBytes(16).toString('hex');
    this.byCookie.set(cookie, { account, ruc, since: Date.now(), seen: Date.now() });
    this.byAccount.set(account, cookie);
    this.counts.logins++;
    return { cookie };
  }

  // The session of a cookie, or undefined when there is none or a newer log-in ended it.
  session(cookie) {
    const found = this.byCookie.get(cookie);
    if (found) found.seen = Date.now();
    return found;
  }

  end(cookie) {
    const found = this.byCookie.get(cookie);
    if (!found) return;
    this.byCookie.delete(cookie);
    this.byAccount.delete(found.account);
    this.counts.logouts++;
  }

  report() {
    return { ...this.counts, live: this.byCookie.size, accounts: [...this.byAccount.keys()] };
  }
}
