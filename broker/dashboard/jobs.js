// SPDX-License-Identifier: MIT
/* jobs.js - jobs by state, searched and acted on: one, or all that a filter finds. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {mayAct, act} from './broker.js';
import {badge, table, button, confirm} from './part.js';
import {moment, duration} from './format.js';
import {List, cut, addressOf, day} from './list.js';
import {bulk, jobsCsv} from './bulk.js';

export const STATES = ['queued', 'running', 'retrying', 'done', 'failed', 'cancelled'];
const FILTERS = ['status', 'search', 'company_id', 'batch_id', 'worker', 'portal', 'error', 'robot_error', 'since', 'until'];
const list = new List('jobs', '/jobs', 'jobs', FILTERS);

export async function retry(job) {
    confirm({title: t('retry_title', job.id), body: t('retry_body'), action: t('retry'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/jobs/${job.id}/retry`, {reason: reason || undefined});
            refresh();
            return t('retry_told');
        }});
}

export async function cancel(job) {
    confirm({title: t('cancel_title', job.id), body: job.status === 'running' ? t('cancel_running_body') : t('cancel_body'), action: t('cancel'), kind: 'danger', inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/jobs/${job.id}/cancel`, {reason: reason || undefined});
            refresh();
            return t('cancel_told');
        }});
}

let alsoRefresh = () => {};

export function jobShownBy(load) {
    alsoRefresh = load;
}

function refresh() {
    if (location.hash.startsWith('#/jobs/'))
        alsoRefresh();
    else
        list.load();
}

export const mayRetry = job => ['failed', 'cancelled'].includes(job.status);
export const mayCancel = job => ['queued', 'retrying', 'running'].includes(job.status);

export function took(job) {
    if (!job.started_at)
        return '–';
    const end = job.finished_at ? Date.parse(job.finished_at) : Date.now();
    return duration(Math.max(0, end - Date.parse(job.started_at)) / 1000);
}

function waited(job) {
    const from = Date.parse(job.available_at || job.created_at), to = job.started_at ? Date.parse(job.started_at) : job.finished_at ? Date.parse(job.finished_at) : Date.now();
    return to - from < 1000 ? t('under_a_second') : duration((to - from) / 1000); /* created_at knows seconds only */
}

export function enter(query) {
    list.enter(query);
}

export function happened(kind, event) {
    if (kind === 'lost')
        list.lost(event);
    if (kind === 'job' && list.rows)
        list.happened(list.rows.find(job => job.id === event.id), event.state ? {status: event.state} : {});
}

function chips() {
    const now = list.filter.status || '';
    return h('nav', {class: 'chipsbar', 'aria-label': t('by_state')}, [['', t('all')], ...STATES.map(state => [state, nameOf(state)])].map(([state, text]) =>
        h('a', {key: state, class: 'pill', href: addressOf('jobs', {...list.filter, status: state}), 'aria-current': now === state ? 'true' : null}, text)));
}

/* Failed ones are asked for by when they failed. */
const timed = (what, ...given) => t((list.filter.status === 'failed' ? 'failed_' : 'made_') + what, ...given);
const isTimed = () => list.filter.since || list.filter.until;

function days() {
    const choices = [[t('any_time'), {since: '', until: ''}], [t('today'), day(0)], [t('yesterday'), day(1)]], {since = '', until = ''} = list.filter;
    return h('nav', {class: 'chipsbar', key: 'days', 'aria-label': timed('when')}, choices.map(([text, times]) =>
        h('a', {key: text, class: 'pill', href: addressOf('jobs', {...list.filter, ...times}), 'aria-current': since === times.since && until === times.until ? 'true' : null}, text)),
    h('small', {}, timed('zone', Intl.DateTimeFormat().resolvedOptions().timeZone)));
}

export function draw() {
    return list.frame('jobs', t('jobs_title'),
        [chips(), days(), list.form([
            {name: 'search', label: t('job_or_uid'), kind: 'wide', hint: '123 / ABCDEF…-1700000000'},
            {name: 'company_id', label: t('company'), kind: 'number'},
            {name: 'batch_id', label: t('batch'), kind: 'number'},
            {name: 'worker', label: t('robot')},
            {name: 'portal', label: t('portal')},
            {name: 'error', label: t('error')},
            {name: 'robot_error', label: t('robot_error')},
            {name: 'since', label: timed('from'), kind: 'time'},
            {name: 'until', label: timed('until'), kind: 'time'},
        ], h('input', {type: 'hidden', name: 'status', value: list.filter.status || ''}))],
        table(t('jobs_title'), [
            {head: t('state'), cell: j => badge(j.status)},
            {head: t('job'), kind: 'lead', cell: j => [h('a', {href: `#/jobs/${j.id}`}, String(j.id)), h('small', {class: 'mono'}, j.job_uid || '')]},
            {head: t('company'), kind: 'num', cell: j => (j.company_id ? h('a', {href: `#/companies/${j.company_id}`}, String(j.company_id)) : '–')},
            {head: t('action'), cell: j => [j.action, j.batch_id ? h('small', {}, h('a', {href: `#/batches/${j.batch_id}`}, t('batch_n', j.batch_id))) : null]},
            {head: t('robot'), cell: j => j.worker || '–'},
            {head: t('attempts'), kind: 'num minor', cell: j => String(j.attempts ?? '–')},
            {head: t('created'), kind: 'when', cell: j => moment(j.created_at)},
            {head: t('waited'), kind: 'num', cell: waited},
            {head: t('took'), kind: 'num', cell: took},
            {head: t('error'), kind: 'span', cell: j => (j.error ? h('span', {class: 'why', title: j.message || null}, j.error, j.message && h('small', {}, cut(j.message, 60))) : '')},
            {head: t('actions'), kind: 'act', cell: j => mayAct() && (mayRetry(j) || mayCancel(j)) && h('span', {class: 'acts'},
                mayRetry(j) && button(t('retry'), () => retry(j), {kind: 'small', label: t('retry_title', j.id)}), mayCancel(j) && button(t('cancel'), () => cancel(j), {kind: 'small', label: t('cancel_title', j.id)}))},
        ], list.rows, j => j.id, t('no_jobs')),
        [button('CSV', () => jobsCsv('jobs.csv', list.filter), {label: t('csv_all')}), mayAct() && !list.filter.search && !isTimed() && [button(t('bulk_retry'), () => bulk('retry', list.filter, () => list.load())), button(t('bulk_cancel'), () => bulk('cancel', list.filter, () => list.load()))]], isTimed() && mayAct() ? t('made_no_bulk') : null);
}
