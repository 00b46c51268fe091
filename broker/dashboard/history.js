// SPDX-License-Identifier: MIT
/* history.js - what attempts came to, beside the same time before: totals, curves with a ghost of the time before, the slowest robots. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {ask} from './broker.js';
import {table, panel, button} from './part.js';
import {number, moment, minute, ago, duration} from './format.js';
import {chart} from './chart.js';
import {List} from './list.js';
import {saveRows} from './csv.js';

/* All of it is one answer: it has no pages. */
class History extends List {
    async page() {
        this.told = await ask(this.path, this.query());
        return this.told;
    }
}

const list = new History('history', '/history', 'robots', ['range', 'portal', 'worker'], {range: '86400'});
const RANGES = [['900', ['minutes', 15]], ['3600', ['hours', 1]], ['86400', ['hours', 24]], ['604800', ['days', 7]]];
const OUTCOMES = ['done', 'refused', 'portal', 'robot', 'unknown', 'database', 'not_called', 'cancelled'];
const FAULTS = OUTCOMES.filter(name => name !== 'done' && name !== 'cancelled');
const WAITS = ['wait_p50_ms', 'wait_p95_ms'];
const TIMES = ['login_p50_ms', 'login_p95_ms'];

export function enter(query) {
    list.enter(query);
}

const time = ms => (ms === null || ms === undefined ? '–' : duration(ms / 1000));
/* The class that a wait is in, in seconds: each is four times as far as the one before, and where in it is not known. */
function wait(ms) {
    if (ms === null || ms === undefined)
        return '–';
    let from = 0, upto = 0.25;
    for (; ms > 1000 * upto && from < 16384; upto *= 4)
        from = upto;
    return from < 16384 ? `${number(from, 2)}–${number(upto, 2)} s` : `> ${number(from)} s`;
}

const before = told => t(told.before_s === 86400 ? 'day_before' : 'week_before');
const begun = text => text[0].toUpperCase() + text.slice(1);

function change(now, then) {
    if (now === null || !then)
        return '–';
    const percent = Math.round(100 * (now - then) / then);
    return `${percent > 0 ? '+' : ''}${number(percent)} %`;
}

function totals(told) {
    const {now, before: then} = told.totals;
    const row = (key, label, text) => ({key, label, now: text(now[key]), then: text(then[key]), change: change(now[key], then[key])});
    return table(t('history_totals'), [
        {head: t('history_what'), kind: 'lead', cell: r => begun(r.label)},
        {head: t('history_now'), kind: 'num', cell: r => h('b', {}, r.now)},
        {head: begun(before(told)), kind: 'num', cell: r => r.then},
        {head: t('history_change'), kind: 'num', cell: r => r.change},
    ], [row('attempts', t('attempts'), number), ...OUTCOMES.filter(name => name === 'done' || now[name] || then[name]).map(name => row(name, nameOf('outcome_' + name), number)),
        ...WAITS.map(name => ({...row(name, t('history_' + name), wait), change: '–'})), ...TIMES.map(name => row(name, t('history_' + name), time))], r => r.key);
}

/* The time before is a ghost behind the line; areas would hide it. */
function curves(told) {
    const {now, before: then} = told.series, counted = {whole: true, unit: v => number(v)}, common = {from: told.from, step_s: told.step_s, n: told.n, span: told.n - 1, gaps: true, quiet: t('history_quiet')};
    const failed = series => series.done.map((_, i) => FAULTS.reduce((sum, name) => sum + series[name][i], 0));
    const line = (name, label, values, tone, kind = 'line') => ({name, label, values, tone, kind});
    const ghost = label => `${label}, ${before(told)}`;
    const seconds = values => values.map(ms => (ms === null ? null : ms / 1000));
    return [
        chart({...common, id: 'history-done', title: t('history_done'), ...counted,
            series: [line('before', ghost(t('done')), then.done, 1, 'ghost'), line('done', t('done'), now.done, 1)]}),
        chart({...common, id: 'history-failed', title: t('history_failed'), ...counted,
            series: [line('before', ghost(t('failed')), failed(then), 'bad', 'ghost'), line('failed', t('failed'), failed(now), 'bad')]}),
        chart({...common, id: 'history-login', title: t('history_login'), unit: v => duration(v),
            series: [line('before', ghost(t('history_median')), seconds(then.login_p50_ms), 2, 'ghost'), line('p50', t('history_median'), seconds(now.login_p50_ms), 2),
                line('p95', t('history_p95'), seconds(now.login_p95_ms), 3)]}),
        chart({...common, id: 'history-wait', title: t('history_wait'), unit: v => duration(v),
            series: [line('before', ghost(t('history_p95')), seconds(then.wait_p95_ms), 4, 'ghost'), line('p95', t('history_p95'), seconds(now.wait_p95_ms), 4)]}),
    ].map((one, i) => h('section', {class: 'history-curve', key: String(i)}, h('h3', {}, t(['history_done', 'history_failed', 'history_login', 'history_wait'][i])), one));
}

function robots(told) {
    return table(t('robots_title'), [
        {head: t('error_robot'), kind: 'lead', cell: r => h('a', {href: `#/robots?${new URLSearchParams({name: r.worker})}`}, r.worker)},
        {head: t('history_logins'), kind: 'num', cell: r => number(r.now.logins)},
        {head: begun(t('history_median')), kind: 'num', cell: r => h('b', {}, time(r.now.login_p50_ms))},
        {head: t('history_p95'), kind: 'num', cell: r => time(r.now.login_p95_ms)},
        {head: begun(`${t('history_median')}, ${before(told)}`), kind: 'num', cell: r => time(r.before.login_p50_ms)},
        {head: t('history_robot_faults'), kind: 'num', cell: r => number(r.now.robot)},
        {head: t('history_slow'), kind: 'when', cell: r => (r.slow_since ? h('time', {datetime: r.slow_since, title: r.slow_since}, `${minute(r.slow_since)} (${ago(r.slow_since)})`) : '–')},
    ], told.robots, r => r.worker, t('history_no_robot'));
}

function portals(told) {
    return table(t('portals_title'), [
        {head: t('portal'), kind: 'lead', cell: p => p.portal},
        {head: t('attempts'), kind: 'num', cell: p => number(p.now.attempts)},
        {head: t('done'), kind: 'num', cell: p => number(p.now.done)},
        {head: `${t('attempts')}, ${before(told)}`, kind: 'num', cell: p => number(p.before.attempts)},
        {head: `${t('done')}, ${before(told)}`, kind: 'num', cell: p => number(p.before.done)},
        {head: t('history_login_p50_ms'), kind: 'num', cell: p => time(p.now.login_p50_ms)},
    ], told.portals, p => p.portal, t('history_quiet'));
}

/* A row for each step. */
function save(told) {
    const names = [...OUTCOMES, 'wait_p95_ms', 'login_p50_ms', 'login_p95_ms'];
    const rows = ['now', 'before'].flatMap(when => told.series.now.done.map((_, i) => ({
        when, at: new Date(Date.parse(told.from) + 1000 * (i * told.step_s - (when === 'before' ? told.before_s : 0))).toISOString(),
        ...Object.fromEntries(names.map(name => [name, told.series[when][name][i]])),
    })));
    saveRows('history.csv', rows, ['when', 'at', ...names]);
}

export function draw() {
    const told = list.told;
    return [
        list.frame('history', t('history_title'),
            list.form([{name: 'range', label: t('history_range'), options: RANGES.map(([value, words]) => [value, t(...words)])}, {name: 'portal', label: t('portal')}, {name: 'worker', label: t('error_robot')}]),
            told && [totals(told), h('div', {class: 'history-curves'}, curves(told))],
            told && button('CSV', () => save(told), {label: t('history_csv')}), [t('history_note'), ' ', told?.summed_to && t('history_upto', minute(told.summed_to))]),
        told && panel('history-robots', t('history_robots'), {wide: true, steady: true, note: t('history_slow_note')}, robots(told)),
        told && panel('history-portals', t('portals_title'), {wide: true, steady: true}, portals(told)),
    ];
}
