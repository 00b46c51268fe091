// SPDX-License-Identifier: MIT
/* errors.js - what failed, by class: how often, for how many companies, since when, and what was said the last time. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {ask, mayAct} from './broker.js';
import {table, button} from './part.js';
import {number, moment, ago} from './format.js';
import {List, cut, day} from './list.js';
import {classActs, jobsCsv} from './bulk.js';

/* All classes are one answer: it has no pages. */
class Errors extends List {
    async page() {
        this.told = await ask(this.path, this.query());
        return this.told;
    }

    /* A day is the reader's, whenever the address is opened. */
    query() {
        const query = super.query();
        return query.since in DAYS ? {...query, ...day(DAYS[query.since])} : query;
    }
}

const list = new Errors('errors', '/errors', 'errors', ['since', 'portal', 'batch_id'], {since: '86400'});
const DAYS = {today: 0, yesterday: 1};
const SINCE = [['3600', ['hours', 1]], ['today', ['today']], ['yesterday', ['yesterday']], ['86400', ['hours', 24]], ['604800', ['days', 7]], ['all', ['all']]];

export function enter(query) {
    list.enter(query);
}

export function happened(kind, event) {
    if (kind === 'lost')
        list.lost(event);
    else if (kind === 'job' && event.state === 'failed' && list.rows)
        list.happened();
}

/* How many in each twelfth of the time that is shown, oldest first. */
function bars(curve) {
    const max = Math.max(1, ...curve || []);
    return curve && h('svg:svg', {class: 'bars', viewBox: '0 0 60 16', width: 60, height: 16, role: 'img', 'aria-label': t('error_curve_label', curve.map(number).join(', '))},
        curve.map((n, i) => h('svg:rect', {key: String(i), x: i * 5, y: n ? 16 - Math.max(2, 15 * n / max) : 15, width: 4, height: n ? Math.max(2, 15 * n / max) : 1, class: n ? 'fill-bad' : 'fill-idle'},
            h('svg:title', {}, number(n)))));
}

export function draw() {
    const told = list.told;
    return list.frame('errors', t('errors_title'),
        list.form([{name: 'since', label: t('error_since'), options: SINCE.map(([value, words]) => [value, t(...words)])},
            {name: 'portal', label: t('portal')}, {name: 'batch_id', label: t('batch'), kind: 'number'}]),
        table(t('errors_title'), [
            {head: t('error_class'), kind: 'lead', cell: e => [h('b', {}, e.error || t('error_unnamed')), e.robot_error && h('small', {}, e.robot_error)]},
            {head: t('error_kind'), cell: e => nameOf('failed_' + e.kind)},
            {head: t('jobs_title'), kind: 'num', cell: e => number(e.n)},
            {head: t('error_curve'), cell: e => bars(e.curve) || '–'},
            {head: t('error_companies'), kind: 'num', cell: e => number(e.companies)},
            {head: t('error_robot'), cell: e => e.worker || (e.workers ? t('error_robots', number(e.workers)) : '–')},
            {head: t('first_seen'), kind: 'when', cell: e => h('time', {datetime: e.first_at, title: e.first_at}, moment(e.first_at))},
            {head: t('last_seen'), kind: 'when', cell: e => h('time', {datetime: e.last_at, title: e.last_at}, ago(e.last_at))},
            {head: t('last_words'), cell: e => cut(e.message, 90)},
            {head: t('actions'), kind: 'act', cell: e => h('span', {class: 'acts'}, h('a', {href: `#/jobs/${e.last_job_id}`}, t('last_job')),
                classActs(e, {portal: list.filter.portal, batch_id: list.filter.batch_id}, mayAct(), () => list.load(), list.query()))},
        ], list.rows, e => `${e.error} ${e.robot_error} ${e.kind}`, t('no_failures')),
        button('CSV', () => jobsCsv('failures.csv', {status: 'failed', ...list.query()}), {label: t('csv_failures')}), [t('errors_acts'), ' ', told?.capped && t('errors_capped', number(told.looked), moment(told.looked_to))]);
}
