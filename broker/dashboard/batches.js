// SPDX-License-Identifier: MIT
/* batches.js - batches of log-ins: how far they are and when they will be done. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {mayAct, act} from './broker.js';
import {badge, bar, table, button, confirm} from './part.js';
import {number, duration, moment} from './format.js';
import {List} from './list.js';

const list = new List('batches', '/batches', 'batches', ['status']);
const PARTS = [['done', 'fill-ok'], ['failed', 'fill-bad'], ['cancelled', 'fill-idle'], ['running', 'fill-busy'], ['retrying', 'fill-warn'], ['queued', 'fill-none']];

function total(batch) {
    return batch.total || Object.values(batch.counts || {}).reduce((a, n) => a + n, 0);
}

export const isPaused = batch => !!batch.waits_for?.some(one => one.reason === 'paused');

/* What is over is as good as its items. */
function level({status, counts}) {
    if (status !== 'done' || !counts?.failed)
        return undefined;
    return counts.done ? 'warn' : 'bad';
}

export const batchBadge = batch => (isPaused(batch) ? badge('paused', 'warn') : badge(batch.status === 'running' ? 'open' : batch.status, level(batch), nameOf('batch_' + batch.status)));

export function progress(batch) {
    const all = total(batch), counts = batch.counts || {}, ended = (counts.done || 0) + (counts.failed || 0) + (counts.cancelled || 0);
    const words = PARTS.filter(([state]) => counts[state]).map(([state]) => `${number(counts[state])} ${nameOf(state)}`).join(' · ');
    return h('div', {class: 'progress'},
        h('p', {}, h('b', {}, all ? number(Math.floor(ended * 100 / all)) + ' %' : '–'), ' ', t('n_of', number(ended), number(all))),
        bar(words || t('nothing_yet'), PARTS.map(([state, kind]) => [all ? (counts[state] || 0) / all : 0, kind])),
        h('small', {}, words || t('nothing_yet')));
}

function standsFor(reason) {
    return reason === 'waiting_for_place' || reason === 'no_robot' ? nameOf('why_' + reason) : t({paused: 'stands_paused', portal_unavailable: 'stands_portal'}[reason] || 'stands');
}

const SLOW = ['portal_limit', 'portal_returning']; /* it goes on all the same */

/* When it will be done: one estimate, as a range; at its end what it still waits for. */
export function ending(b) {
    const {counts} = b, waits = (counts.queued || 0) + (counts.retrying || 0);
    if (b.finished_at || b.status === 'cancelled')
        return '–';
    if (!waits && counts.running && b.oldest_running_s !== null && b.oldest_running_s !== undefined)
        return t('still_running', number(counts.running), duration(b.oldest_running_s));
    if (b.waits_for && b.waits_for.some(w => !SLOW.includes(w.reason)))
        return standsFor(b.waits_for.find(w => !SLOW.includes(w.reason)).reason);
    if (b.eta_min_s !== null && b.eta_min_s !== undefined)
        return t('eta_range', duration(b.eta_min_s), duration(b.eta_max_s));
    return t('eta_unknown');
}

export function cancelBatch(b, done) {
    confirm({title: t('cancel_batch_title', b.id), body: t('cancel_batch_body'), action: t('cancel'), kind: 'danger', inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/batches/${b.id}/cancel`, {reason: reason || undefined});
            done();
            return t('cancel_batch_told');
        }});
}

export function enter(query) {
    list.enter(query);
}

export function happened(kind, event) {
    if (kind === 'lost')
        list.lost(event);
    if (kind !== 'batch' || !list.rows)
        return;
    list.happened(list.rows.find(batch => batch.id === event.id), event.state ? {status: event.state} : {});
}

export function draw() {
    return list.frame('batches', t('batches_title'),
        list.form([{name: 'status', label: t('state'), options: [['', t('all')], ...['open', 'running', 'done', 'cancelled'].map(state => [state, nameOf('batch_' + state)])]}]),
        table(t('batches_title'), [
            {head: t('batch'), kind: 'lead', cell: b => [h('a', {href: `#/batches/${b.id}`}, h('b', {}, String(b.id))), b.name && h('b', {}, ' ', b.name), h('small', {}, b.action), b.made_by && h('small', {}, b.made_by)]},
            {head: t('state'), cell: batchBadge},
            {head: t('progress'), kind: 'wide', cell: progress},
            {head: t('eta'), cell: ending},
            {head: t('created'), kind: 'when', cell: b => moment(b.created_at)},
            {head: t('finished'), kind: 'when', cell: b => moment(b.finished_at)},
            {head: t('actions'), kind: 'act', cell: b => h('span', {class: 'acts'}, h('a', {href: `#/jobs?batch_id=${b.id}`}, t('its_jobs')), h('a', {href: `#/jobs?batch_id=${b.id}&status=failed`}, t('its_failures')),
                mayAct() && !b.finished_at && b.status !== 'cancelled' && button(t('cancel'), () => cancelBatch(b, () => list.load()), {kind: 'small', label: t('cancel_batch_title', b.id)}))},
        ], list.rows, b => b.id, t('no_batches')));
}
