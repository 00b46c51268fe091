// SPDX-License-Identifier: MIT
/* schedules.js - schedules: their last runs as dots, their next times by their own clocks; run one now, let one rest. */
import {h} from './view.js';
import {t, language} from './text.js';
import {ask, act, mayAct} from './broker.js';
import {panel, badge, button, confirm, fields, failure} from './part.js';
import {number, moment} from './format.js';
import {Thing} from './thing.js';

const page = new Thing(() => ask('/schedules').then(told => told.schedules));
const isShown = () => location.hash.startsWith('#/schedules');

function change(schedule, verb, kind) {
    confirm({title: t(`schedule_${verb}_title`, schedule.name), body: t(`schedule_${verb}_body`), action: t(`schedule_${verb}`), kind, inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            const told = await act(`/schedules/${encodeURIComponent(schedule.name)}/${verb}`, {reason: reason || undefined});
            page.load();
            return t(`schedule_${verb}_told`, schedule.name, told.batch_id ?? '');
        }});
}

function level(run) {
    return run.batch_id === null ? 'missed' : !run.finished_at && run.status !== 'cancelled' ? 'busy' : run.status === 'cancelled' ? 'idle' : run.failed === 0 ? 'ok' : run.done === 0 ? 'bad' : 'warn';
}

function words(run) {
    const what = run.batch_id === null ? t('run_missed', number(run.missed)) : !run.finished_at ? t('run_goes_on', run.batch_id) : t('run_was', run.batch_id, number(run.done ?? 0), number(run.failed ?? 0), number(run.total ?? 0));
    return `${moment(run.run_at)}: ${what}`;
}

/* Oldest first, as on a time line. */
function dots(schedule) {
    if (!schedule.runs.length)
        return h('p', {class: 'note'}, t('no_runs'));
    return h('ul', {class: 'dots', 'aria-label': t('last_runs')}, [...schedule.runs].reverse().map(run => h('li', {key: run.run_at},
        h(run.batch_id ? 'a' : 'span', {class: `dot is-${level(run)}`, href: run.batch_id ? `#/batches/${run.batch_id}` : null, role: run.batch_id ? null : 'img', title: words(run), 'aria-label': words(run)}))));
}

const full = (iso, timeZone) => new Date(iso).toLocaleString(language(), {timeZone, weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false});

/* The schedule's own zone, if the browser knows it; undefined: the reader's. */
function zoneOf({zone}) {
    try {
        return Intl.DateTimeFormat('en', {timeZone: zone}) && zone;
    } catch {
        return undefined;
    }
}

function card(schedule) {
    const zone = zoneOf(schedule), id = 'schedule-' + schedule.name, last = schedule.runs[0];
    return h('li', {class: `card is-${schedule.enabled ? 'up' : 'unknown'}`, key: schedule.name, 'aria-labelledby': id},
        h('header', {class: 'card-head'}, h('h3', {id}, schedule.name), badge(schedule.enabled ? 'on' : 'off', schedule.enabled ? 'ok' : 'idle', t(schedule.enabled ? 'schedule_on' : 'schedule_off'))),
        h('p', {class: 'card-why'}, h('code', {}, schedule.cron), ` ${schedule.zone} · ${[schedule.action, ...schedule.then, schedule.close && t('step_close')].filter(Boolean).join(' → ')}${schedule.done_by ? ' · ' + t('done_by', schedule.done_by) : ''}`),
        dots(schedule),
        last && h('p', {class: 'note'}, words(last)),
        fields([
            [t('items'), schedule.stored ? t('items_stored') : number(schedule.items)], [t('priority'), String(schedule.priority)], [t('made_by'), schedule.made_by],
            [t('next_times', zone || Intl.DateTimeFormat().resolvedOptions().timeZone), schedule.next.length ? h('ol', {class: 'times'}, schedule.next.map(at => h('li', {key: at}, h('time', {datetime: at, title: `${full(at)} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`}, full(at, zone))))) : t('schedule_rests'), 'is-whole'],
        ]),
        mayAct() && h('p', {class: 'card-act'}, button(t('schedule_run'), () => change(schedule, 'run', 'primary'), {kind: 'primary', label: t('schedule_run_title', schedule.name)}),
            schedule.enabled ? button(t('schedule_disable'), () => change(schedule, 'disable', 'danger'), {label: t('schedule_disable_title', schedule.name)})
                : button(t('schedule_enable'), () => change(schedule, 'enable', 'primary'), {label: t('schedule_enable_title', schedule.name)})));
}

export function enter() {
    page.enter('all');
}

export function happened(kind) {
    if (kind === 'batch' || kind === 'lost')
        page.changed(isShown);
}

export function draw() {
    if (!page.told)
        return page.empty('schedules', t('schedules_title'));
    return panel('schedules', t('schedules_title'), {as_of: page.as_of, steady: true, wide: true, kind: 'is-bare', tools: page.refresh()}, failure(page.why),
        page.told.length ? h('ul', {class: 'cards'}, page.told.map(card)) : h('p', {class: 'empty'}, t('no_schedules'), ' ', h('code', {}, 'chasqui schedule add')));
}
