// SPDX-License-Identifier: MIT
//
// metrics.js - the robot's numbers for Prometheus. No company or session is a label.

import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export function metricsNew({ sessions, browsers }) {
  const registers = [new Registry()];
  const gauge = (name, help, value) =>
    new Gauge({ name, help, registers, collect() { this.set(value()); } });
  gauge('robot_sessions', 'Sessions held, those being opened and closed included.', () => sessions.byId.size);
  gauge('robot_capacity', 'Most sessions at once.', () => sessions.options.capacity);
  gauge('robot_browsers', 'Chromium browsers running.', () => browsers.all.size);
  gauge('robot_browser_memory_mebibytes', 'Resident memory of all browsers.', () => [...browsers.all].reduce((sum, { memoryMb }) => sum + memoryMb, 0));
  gauge('robot_viewers', 'Viewers that watch a session.', () => [...sessions.byId.values()].reduce((sum, { viewers }) => sum + viewers.size, 0));
  return {
    registry: registers[0],
    logins: new Counter({ name: 'robot_logins_total', help: 'Log-ins that ended, by outcome.', labelNames: ['portal', 'outcome'], registers }),
    loginSeconds: new Histogram({
      name: 'robot_login_seconds', help: 'Time of a log-in.', labelNames: ['portal'], buckets: [0.5, 1, 2, 5, 10, 20, 60, 120], registers,
    }),
    calls: new Counter({ name: 'robot_calls_total', help: 'Lists, files and closes, by status.', labelNames: ['call', 'status'], registers }),
  };
}
