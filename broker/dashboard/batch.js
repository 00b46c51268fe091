// SPDX-License-Identifier: MIT
/* batch.js - one batch: how far it is and how it goes, what failed in it, its items, its end against the run before, and what can be done about it. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {ask, act, mayAct} from './broker.js';
import {panel, badge, button, confirm, fields, failure, table} from './part.js';
import {number, duration, moment, ago} from './format.js';
import {progress, ending, cancelBatch, batchBadge} from './batches.js';
import {bulk, classActs} from './bulk.js';
import {pausePart, pauseStrip} from './portals.js';
import {course} from './course.js';
import {saveAll} from './csv.js';
import {cut, List} from './list.js';

import {Thing} from './thing.js';

const STATES = ['queued', 'running', 'retrying', 'done', 'failed', 'cancelled'];
const COLUMNS = ['index', 'company_id', 'status', 'step', 'attempts', 'worker', 'error', 'message', 'robot_status', 'robot_error', 'robot_message', 'job_id', 'job_uid', 'session_id'];
const page = new Thing(async id => {
    const [{batch, course: went}, errors, {queue}] = await Promise.all([ask(`/batches/${id}`, {course: 1}), ask('/errors', {batch_id: id}), ask('/queue')]);
    const holds = one => (!one.portal || one.portal === batch.portal) && (!one.action || one.action === batch.action) && (!one.batch_id || String(one.batch_id) === String(batch.id));
    return {batch, went, errors: errors.errors, pauses: batch.finished_at ? [] : (queue.pauses || []).filter(holds), paused: batch.finished_at ? null : queue.paused};
});
const isShown = () => location.hash.startsWith('#/batches/');
let items = null;

export function enter(id, query) {
    page.enter(id);
    items = new List(`batches/${id}`, `/batches/${id}/items`, 'items', ['status']);
    items.more_word = 'further'; /* they count upwards */
    items.enter(query);
}

export function happened(kind, event) {
    if (['lost', 'pause', 'portal'].includes(kind) || (kind === 'batch' && String(event.id) === page.id) || kind === 'job')
        page.changed(isShown);
    if (kind === 'batch' && String(event.id) === page.id)
        items.changes ||= 1;
}

function reload() {
    page.load();
    items.load();
}

const pause = batch => pausePart({batch_id: batch.id}, {title: t('pause_portal_title', t('batch_n', batch.id)), body: t('pause_batch_body'), told: t('paused_portal_told', t('batch_n', batch.id))}, reload);

function priority(batch) {
    confirm({title: t('priority_title', batch.id), body: t('priority_body', batch.priority), action: t('change_priority'),
        inputs: [{name: 'priority', label: t('priority'), value: String(batch.priority), options: [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map(n => [String(n), n === batch.priority ? t('priority_now', n) : String(n)])}, {name: 'reason', label: t('reason')}],
        run: async ({priority: n, reason}) => {
            await act(`/batches/${batch.id}/priority`, {priority: Number(n), reason: reason || undefined});
            reload();
            return t('priority_told', batch.id, n);
        }});
}

const failuresCsv = batch => saveAll(`batch-${batch.id}-failed.csv`, COLUMNS, `/batches/${batch.id}/items`, 'items', {status: 'failed'});

const spent = batch => batch.took_s ?? Math.max(0, (Date.now() - Date.parse(batch.available_at || batch.created_at)) / 1000);

/* This run, the one before, and the difference. */
function compare(batch) {
    const {previous: before} = batch;
    if (!before)
        return null;
    const difference = n => (n > 0 ? '+' : n < 0 ? '−' : '±') + number(Math.abs(n)), isLive = batch.took_s === null;
    const rows = [['items', batch.total, before.total], ...['done', 'failed', 'cancelled'].map(state => [state, batch.counts[state], before.counts[state]])]
        .map(([key, now, then]) => ({key, label: key === 'items' ? t('items') : nameOf(key), now: number(now), then: number(then), more: difference(now - then), isWorse: key === 'failed' && now > then}));
    rows.push({key: 'took', label: isLive ? t('took_so_far') : t('took'), now: duration(spent(batch)), then: duration(before.took_s), more: isLive || before.took_s === null ? '–' : (batch.took_s >= before.took_s ? '+' : '−') + duration(Math.abs(batch.took_s - before.took_s))});
    return panel('compare', t('compare_title'), {as_of: page.as_of, steady: true, tools: h('a', {href: `#/batches/${before.id}`}, t(before.took_s === null ? 'batch_n_beside' : 'batch_n', before.id))},
        table(t('compare_title'), [
            {head: '', kind: 'lead', cell: r => h('b', {}, r.label)}, {head: t('this_run'), kind: 'num', cell: r => r.now},
            {head: t('run_before', moment(before.created_at)), kind: 'num', cell: r => r.then}, {head: t('difference'), kind: 'num', cell: r => h('span', {class: r.isWorse ? 'is-bad-text' : null}, r.more)},
        ], rows, r => r.key, ''));
}

function mix(batch, errors) {
    return panel('mix', t('mix_title'), {as_of: page.as_of, steady: true, wide: !batch.previous, tools: batch.counts.failed > 0 && [
        mayAct() && button(t('retry_failed'), () => bulk('retry', {status: 'failed', batch_id: batch.id}, reload)), button(t('failures_csv'), () => failuresCsv(batch))]},
        table(t('mix_title'), [
            {head: t('error_class'), kind: 'lead', cell: e => [h('b', {}, e.error || t('error_unnamed')), e.robot_error && h('small', {}, e.robot_error)]},
            {head: t('items'), kind: 'num', cell: e => number(e.n)},
            {head: t('last_seen'), kind: 'when', cell: e => ago(e.last_at)},
            {head: t('last_words'), cell: e => cut(e.message, 60)},
            {head: t('actions'), kind: 'act', cell: e => h('span', {class: 'acts'}, h('a', {href: `#/jobs/${e.last_job_id}`}, t('last_job')), classActs(e, {batch_id: batch.id}, mayAct(), reload))},
        ], errors, e => `${e.error} ${e.robot_error} ${e.kind}`, t('no_failures')));
}

function itemList(batch) {
    const now = items.filter.status || '', step = i => (i.step === null || i.step === undefined ? '–' : batch.then[i.step] ?? String(i.step));
    return items.frame('items', t('items_title'),
        h('nav', {class: 'chipsbar', 'aria-label': t('by_state')}, [['', t('all')], ...STATES.map(state => [state, `${nameOf(state)} ${number(batch.counts[state])}`])].map(([state, text]) =>
            h('a', {key: state, class: 'pill', href: `#/batches/${batch.id}${state ? '?status=' + state : ''}`, 'aria-current': now === state ? 'true' : null}, text))),
        table(t('items_title'), [
            {head: t('company'), kind: 'lead', cell: i => [h('a', {href: `#/companies/${i.company_id}`}, String(i.company_id)), h('small', {}, `#${i.index}`)]},
            {head: t('state'), cell: i => badge(i.status)},
            batch.then.length > 0 && {head: t('step'), cell: step},
            {head: t('robot'), cell: i => i.worker || '–'},
            {head: t('attempts'), kind: 'num minor', cell: i => String(i.attempts ?? '–')},
            {head: t('job'), cell: i => (i.job_id ? h('a', {href: `#/jobs/${i.job_id}`}, String(i.job_id)) : '–')},
            {head: t('error'), kind: 'span', cell: i => (i.error ? h('span', {class: 'why', title: i.message || null}, [i.error, i.robot_error].filter(Boolean).join(' · '), i.robot_message && h('small', {}, cut(i.robot_message, 60))) : '')},
        ].filter(Boolean), items.rows, i => i.index, t('no_items')));
}

function callback({callback: one}) {
    if (!one)
        return null;
    const words = {none: 'callback_none', waiting: 'callback_waiting', delivered: 'callback_delivered', given_up: 'callback_given_up'};
    return [t('callback'), [badge(one.state, {delivered: 'ok', given_up: 'bad', waiting: 'warn'}[one.state] || 'idle', t(words[one.state] || one.state)), ' ', one.url,
        one.attempts > 0 && ` · ${t('callback_tries', number(one.attempts))}`, one.next_at && ` · ${moment(one.next_at)}`, one.error && ` · ${one.error}`], 'is-whole'];
}

export function draw() {
    const back = h('a', {class: 'button', href: '#/batches'}, t('all_batches'));
    if (!page.told)
        return page.empty('batch', t('batch_title', page.id), back);
    const {batch, went, errors, pauses, paused} = page.told, isOver = !!batch.finished_at, schedule = /^schedule:(.*)/.exec(batch.made_by || '')?.[1];
    return [
        panel('batch', t('batch_title', batch.id) + (batch.name ? ` · ${batch.name}` : ''), {as_of: page.as_of, steady: true, wide: true, tools: [back,
            mayAct() && !isOver && !pauses.some(one => one.batch_id) && button(t('pause'), () => pause(batch), {label: t('pause_portal_title', t('batch_n', batch.id))}),
            mayAct() && !isOver && button(t('change_priority'), () => priority(batch)),
            mayAct() && !isOver && batch.status !== 'cancelled' && button(t('cancel'), () => cancelBatch(batch, reload), {kind: 'danger', label: t('cancel_batch_title', batch.id)}),
            page.refresh()]},
            failure(page.why),
            h('p', {class: 'lead'}, batchBadge(batch), ' ', h('b', {}, batch.action), ' ',
                !isOver && h('span', {class: 'ending'}, ending(batch))),
            paused && h('p', {class: 'strip is-warn'}, t('why_all_paused', paused.by, ago(paused.since)), paused.reason ? ` “${paused.reason}”` : '', ' ', h('a', {href: '#/'}, t('overview'))),
            pauses.map((one, i) => pauseStrip(one, 'pause' + i, reload)),
            progress(batch),
            fields([
                [t('portal'), batch.portal], [t('priority'), String(batch.priority)], [t('made_by'), schedule ? h('a', {href: '#/schedules'}, batch.made_by) : batch.made_by],
                [t('created'), moment(batch.created_at)], batch.available_at && [t('available'), moment(batch.available_at)], [t('finished'), moment(batch.finished_at)],
                [t(isOver ? 'took' : 'took_so_far'), duration(spent(batch))],
                (batch.then.length > 0 || batch.close) && [t('steps'), [...batch.then, batch.close && t('step_close')].filter(Boolean).join(' → ')],
                callback(batch),
            ].filter(Boolean))),
        went && course(batch, went, page.as_of), /* an older dispatcher does not tell */
        h('div', {class: 'grid', key: 'grid'}, compare(batch), mix(batch, errors)),
        itemList(batch),
    ];
}
