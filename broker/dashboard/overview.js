// SPDX-License-Identifier: MIT
/* overview.js - is it well, who waits and why: the page that people look at all day. */
import {h} from './view.js';
import {t, language, word, name as nameOf} from './text.js';
import {world, mayAct, act} from './broker.js';
import {panel, badge, table, places, bar, button, confirm} from './part.js';
import {number, count, rate, duration, percentiles, ago, bytes, moment} from './format.js';
import {chart} from './chart.js';
import {robotBadge, slowLook} from './robots.js';
import {tools as alertTools, notifySwitch} from './alerts.js';

/* ---- the state in words ------------------------------------------------------------------------------------- */

/* What is wrong, worst first: the page's own word when the broker is silent, else the broker's words. */
export function words() {
    if (world.link === 'gone')
        return [{level: 'bad', code: 'broker_gone', since: world.goneSince,
            text: world.goneWhy ? t('broker_says', world.goneWhy) : t('broker_gone', ago(world.goneSince)),
            todo: world.goneWhy ? t('broker_says_todo') : t('broker_gone_todo')}];
    return (world.stats?.words || []).map(one => ({...one, level: one.level === 'warn' && one.alert?.acked_by ? 'known' : one.level, text: word(one, 'text'), todo: word(one, 'todo')}));
}

function place(stats) {
    const up = stats.robots.filter(robot => robot.verdict === 'up').length, parts = [];
    parts.push(t('robots_up', number(up), number(stats.robots.length)));
    if (stats.places)
        parts.push(t('places_used', number(stats.places.used), number(stats.places.total)));
    parts.push(t('dispatchers_there', number(stats.dispatchers.filter(d => d.connected).length)));
    parts.push(waiting(stats) ? t('waiting_n', number(waiting(stats))) : held(stats) ? t('held_n', number(held(stats))) : t('nothing_waits'));
    if (waiting(stats) && held(stats))
        parts.push(t('held_n', number(held(stats))));
    return parts.join(' · ');
}

function waiting(stats) {
    return stats.lanes.reduce((sum, lane) => sum + lane.depth, 0) + (stats.queue?.depth.n || 0);
}

/* By pauses and portals: it waits, though for nothing that the robots could do. */
const held = stats => stats.queue?.held || 0;

/* One line on every page; all of it on the first one. */
export function stateLine(isWhole) {
    const all = words(), first = all[0], stats = world.stats;
    if (!first)
        return h('section', {class: 'state is-idle', key: 'state', 'aria-label': t('state')}, h('span', {class: 'state-light'}),
            h('div', {class: 'state-words'}, h('p', {class: 'state-first'}, t('connecting'))));
    const more = all.slice(1);
    return h('section', {class: `state is-${first.level}${isWhole ? ' is-whole' : ''}`, key: 'state', 'aria-label': t('state')},
        h('span', {class: 'state-light', 'aria-hidden': 'true'}),
        h('div', {class: 'state-words'},
            h('p', {class: 'state-first'}, first.text, first.todo && h('span', {class: 'state-todo'}, ' ', first.todo)),
            isWhole && alertTools(first),
            isWhole && more.length > 0 && h('ul', {class: 'state-more', key: 'more'}, more.map((one, i) =>
                h('li', {class: `is-${one.level}`, key: one.code + (one.who || '') + i}, one.text, one.todo && h('span', {class: 'state-todo'}, ' ', one.todo), alertTools(one)))),
            isWhole && more.length > 5 && h('p', {class: 'state-rest is-narrow'}, h('a', {href: '#/alerts'}, t('all_n', number(all.length)))),
            !isWhole && more.length > 0 && h('p', {class: 'state-rest'}, h('a', {href: '#/'}, t('and_more', number(more.length)))),
            isWhole && stats && world.link === 'live' && h('p', {class: 'state-facts'}, place(stats)), isWhole && notifySwitch()),
        h('p', {class: 'state-live'}, world.link === 'live'
            ? [h('span', {class: 'pulse', 'aria-hidden': 'true'}), t('live'), ' ', h('time', {datetime: stats?.as_of}, moment(stats?.as_of))]
            : t('last_known', moment(stats?.as_of))));
}

/* For those who listen: said when what is wrong changes, or the language; what only counts on is said again after a while. */
const SAID_AGAIN_MS = 30000;
let saidCodes = '', said = '', saidAt = 0;
export function saying() {
    const all = words(), codes = [language(), ...all.map(one => one.code + (one.who || ''))].join(), text = all.map(one => `${one.text} ${one.todo || ''}`).join(' ');
    if (codes !== saidCodes || (text !== said && performance.now() > saidAt + SAID_AGAIN_MS)) {
        saidCodes = codes;
        said = text;
        saidAt = performance.now();
    }
    return h('div', {class: 'heard-only', role: 'status', 'aria-live': 'polite', key: 'said'}, said);
}

/* ---- numbers ------------------------------------------------------------------------------------------------ */

function tile(label, value, under, level) {
    return h('div', {class: `tile${level ? ' is-' + level : ''}`, key: label}, h('dt', {}, label), h('dd', {}, h('b', {}, value), h('small', {}, under)));
}

function worst(list) {
    return list.filter(x => x !== null && x !== undefined).reduce((a, b) => Math.max(a, b), 0);
}

function tiles(stats) {
    const {lanes, queue, robots} = stats, lane = lanesBy(lanes), work = [lane.interactive, lane.login].filter(Boolean);
    const oldest = worst([...lanes.map(l => l.oldest_age_s), queue?.oldest_age_s]);
    const sum = key => work.reduce((n, l) => n + (l[key] || 0), 0) + (queue?.[key] || 0);
    const up = robots.filter(r => r.verdict === 'up').length;
    return h('dl', {class: 'tiles', key: 'tiles', 'aria-label': t('key_numbers')},
        tile(t('waiting'), queue?.depth.capped ? count(queue.depth) : number(waiting(stats)), [oldest ? t('oldest', duration(oldest)) : held(stats) ? '' : t('nothing_waits'), held(stats) > 0 && t('held_n', number(held(stats)))].filter(Boolean).join(' · ')),
        tile(t('done'), rate(sum('done_per_s')), t('failed_rate', rate(sum('failed_per_s'))), sum('failed_per_s') > 0.05 * sum('done_per_s') && sum('failed_per_s') > 0 ? 'warn' : ''),
        tile(t('answer_time'), duration(lane.interactive?.latency_s.p95), lane.interactive?.latency_s.n ? t('p95_of', nameOf('interactive')) : t('no_answers')),
        tile(t('login_time'), duration(stats.logins?.p95), stats.logins?.n ? t('p95_logins', number(stats.logins.n)) : t('no_logins')),
        tile(t('places'), stats.places ? `${number(stats.places.used)} / ${number(stats.places.total)}` : '–', stats.places ? t('places_free', number(stats.places.free)) : t('not_told')),
        tile(t('robots_title'), `${number(up)} / ${number(robots.length)}`, t('up'), robots.length && up === 0 ? 'bad' : up < robots.length ? 'warn' : ''),
        tile(t('queue_clears'), queue ? duration(queue.clear_s) : '–', queue ? t('batches_open', count(queue.batches_open)) : t('not_told')));
}

const lanesBy = lanes => Object.fromEntries(lanes.map(lane => [lane.lane, lane]));

const TONES = [['interactive', 1], ['login', 2], ['batch', 3], ['queue', 4]];

function charts(history) {
    const {from, step_s, n} = history, sums = from_lists => Array.from({length: n}, (_, i) => from_lists.reduce((a, list) => (list[i] === null ? a : (a ?? 0) + list[i]), null));
    const of = (key, kind) => TONES.filter(([lane]) => history[key][lane]).map(([lane, tone]) => ({name: lane, label: nameOf(lane), values: history[key][lane], kind, tone}));
    const perMinute = list => list.map(v => (v === null ? null : v * 60));
    const done = of('done_per_s', 'area').map(s => ({...s, values: perMinute(s.values)}));
    const failed = perMinute(sums(TONES.map(([lane]) => history.failed_per_s[lane]).filter(Boolean)));
    return [
        panel('throughput', t('throughput'), {as_of: world.stats.as_of, note: t('throughput_note')},
            chart({id: 'throughput', title: t('throughput'), from, step_s, n, unit: v => number(v, v !== null && v < 10 ? 1 : 0), quiet: t('quiet_hour'),
                series: [...done, {name: 'failed', label: t('failed'), values: failed, kind: 'line', tone: 'bad'}]})),
        panel('waits', t('waits'), {as_of: world.stats.as_of, folds: true, note: t('waits_note')},
            chart({id: 'waits', title: t('waits'), from, step_s, n, unit: v => duration(v), quiet: t('no_wait_hour'), series: of('wait_p95_s', 'line')})),
    ];
}

/* ---- the queue ---------------------------------------------------------------------------------------------- */

function laneRows(stats) {
    const rows = stats.lanes.map(lane => ({...lane, name: lane.lane, waits: lane.depth, running: lane.in_flight}));
    if (stats.queue)
        rows.push({...stats.queue, name: 'queue', waits: stats.queue.depth, running: stats.queue.running});
    return rows;
}

/* What goes on without a pace yet does not stand still. */
const clears = one => (one.clear_s !== null ? duration(one.clear_s) : t(one.moves ? 'not_known_yet' : 'stands'));

function lanes(stats) {
    return panel('lanes', t('by_lane'), {as_of: stats.as_of, wide: true, folds: true, note: t('lanes_note')},
        table(t('by_lane'), [
            {head: t('lane'), kind: 'lead', cell: l => [h('b', {}, nameOf(l.name)), h('small', {}, t('about_' + l.name))]},
            {head: t('waiting'), kind: 'num', cell: l => count(l.waits)},
            {head: t('working'), kind: 'num', cell: l => count(l.running)},
            {head: t('oldest_head'), kind: 'num', cell: l => duration(l.oldest_age_s)},
            {head: t('wait_head'), kind: 'num', hint: t('percentiles_hint'), cell: l => percentiles(l.wait_s)},
            {head: t('clears_in'), kind: 'num', hint: t('clears_hint'), cell: clears},
            {head: t('accepted'), kind: 'num minor', cell: l => rate(l.accepted_per_s)},
            {head: t('done'), kind: 'num', cell: l => rate(l.done_per_s)},
            {head: t('failed'), kind: 'num', cell: l => h('span', {class: l.failed_per_s > 0.05 * l.done_per_s ? 'is-bad-text' : null}, rate(l.failed_per_s))},
            {head: t('rejected'), kind: 'num minor', cell: l => rate(l.rejected_per_s)},
            {head: t('retried'), kind: 'num minor', cell: l => rate(l.retried_per_s)},
        ], laneRows(stats), l => l.name, t('not_told')));
}

function pauseQueue() {
    confirm({title: t('pause_title'), body: t('pause_body'), action: t('pause'), kind: 'danger',
        inputs: [{name: 'reason', label: t('reason'), required: true}, {name: 'minutes', label: t('pause_for'), options: [['15', t('minutes', 15)], ['30', t('minutes', 30)], ['60', t('hours', 1)], ['240', t('hours', 4)], ['0', t('until_resumed')]]}],
        run: async ({reason, minutes}) => {
            await act('/queue/pause', {reason, for_s: Number(minutes) * 60 || undefined});
            return t('paused_told');
        }});
}

function resumeQueue() {
    confirm({title: t('resume_title'), action: t('resume'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act('/queue/resume', {reason: reason || undefined});
            return t('resumed_told');
        }});
}

function durable(stats) {
    const queue = stats.queue;
    if (!queue)
        return panel('queue', t('queue_title'), {as_of: null}, h('p', {class: 'empty'}, t('queue_none')));
    const most = Math.max(1, ...queue.by_priority.map(p => p.n));
    return panel('queue', t('queue_title'), {as_of: queue.as_of, tools: mayAct() && (queue.paused ? button(t('resume'), resumeQueue, {kind: 'primary'}) : button(t('pause'), pauseQueue))},
        queue.paused && h('p', {class: 'strip is-warn'}, t('paused_by', queue.paused.by, ago(queue.paused.since)), queue.paused.reason ? ` “${queue.paused.reason}”` : '',
            ' ', queue.paused.until ? t('paused_until', moment(queue.paused.until)) : t('until_resumed')),
        h('dl', {class: 'facts is-row'},
            [[t('ready'), count(queue.depth)], [t('scheduled'), count(queue.scheduled)], queue.held > 0 && [t('held'), number(queue.held)], [t('running'), count(queue.running)], [t('oldest_head'), duration(queue.oldest_age_s)],
                [t('clears_in'), clears(queue)], [t('batches_title'), count(queue.batches_open)]].filter(Boolean)
                .map(([label, value]) => h('div', {key: label}, h('dt', {}, label), h('dd', {}, value)))),
        queue.by_priority.length > 0 && h('ul', {class: 'ladder', 'aria-label': t('by_priority')}, queue.by_priority.map(p =>
            h('li', {key: String(p.priority)}, h('span', {}, t('priority_n', p.priority)), bar('', [[p.n / most, 'fill-accent']]), h('span', {class: 'num'}, count(p))))),
        queue.by_priority.length === 0 && h('p', {class: 'empty'}, t('queue_empty')));
}

/* ---- robots, processes, companies ---------------------------------------------------------------------------- */

const NEED = ['down', 'suspect', 'unknown', 'up']; /* who needs help comes first: a phone shows no more than five */

function robots(stats) {
    const list = [...stats.robots].sort((a, b) => NEED.indexOf(a.verdict) - NEED.indexOf(b.verdict));
    return panel('robots', t('robots_title'), {as_of: stats.as_of, wide: true, tools: h('a', {href: '#/robots'}, t('all_and_act'))},
        stats.robots.length === 0 ? h('p', {class: 'empty'}, t('no_robots'))
            : h('ul', {class: 'chips'}, list.slice(0, 60).map(robot =>
                h('li', {key: robot.name, class: `chip is-${robot.verdict}`}, h('a', {href: '#/robots?' + new URLSearchParams({name: robot.name})}, h('b', {}, robot.name)), robotBadge(robot), places(robot.places_used, robot.places_total)))),
        list.length > 5 && h('p', {class: 'note is-narrow'}, h('a', {href: '#/robots'}, t('all_n', number(list.length)))),
        list.length > 60 && h('p', {class: 'note is-roomy'}, t('and_more', number(list.length - 60))));
}

/* Which server a dispatcher uses; of a cluster its node's state and size, too. */
function database_server(database) {
    return database.node_state ? `${database.host} (${database.node_state}, ${number(database.cluster_size)})` : database.host ?? '–';
}

function processes(stats) {
    const {broker} = stats;
    const rows = [
        {key: 'b', kind: t('broker'), name: broker.name, boot: broker.boot_id, badge: badge('ok', world.link === 'live' ? 'ok' : 'bad', world.link === 'live' ? t('answers') : t('silent')), version: broker.version,
            what: t('broker_what', number(broker.connections), rate(broker.requests_per_s), number(broker.streams.active), bytes(broker.streams.bytes_per_s)), as_of: broker.uptime_s},
        ...stats.dispatchers.map(d => ({key: 'd' + d.name, kind: t('dispatcher'), name: d.name, boot: d.boot_id, version: d.version, as_of: d.uptime_s,
            badge: !d.connected ? badge('gone') : d.draining ? badge('draining') : d.database.ok ? badge('connected') : badge('bad', 'bad', t('no_database')),
            what: d.connected ? t('dispatcher_what', number(d.in_flight), number(d.database.busy), number(d.database.threads), number(d.database.queued), rate(d.logins_per_s), number(d.credit.interactive), database_server(d.database)) : t('gone_since', ago(d.gone_since))})),
        ...stats.healthds.map(one => ({key: 'h' + one.endpoint, kind: t('healthd'), name: one.endpoint, badge: one.heard ? badge('ok', 'ok', t('heard')) : badge('bad', 'bad', t('silent')), version: '',
            what: one.heard ? t('healthd_what', number(one.up), number(one.suspect), number(one.down), duration(one.probe_s?.p95), number(one.gaps_total)) : t('gone_since', ago(one.silent_since)), as_of: null})),
    ];
    return panel('processes', t('processes'), {as_of: stats.as_of, folds: true},
        table(t('processes'), [
            {head: t('process'), kind: 'lead', cell: r => [h('b', {}, r.kind), h('small', {}, r.name), r.boot && h('small', {class: 'mono', title: r.boot}, t('boot', r.boot.slice(0, 8)))]},
            {head: t('state'), cell: r => r.badge},
            {head: t('does_now'), cell: r => r.what},
            {head: t('runs_for'), kind: 'num', cell: r => [duration(r.as_of), r.version && h('small', {}, r.version)]},
        ], rows, r => r.key, ''));
}

function companies(stats) {
    const {companies: told} = stats, company = id => h('a', {href: `#/companies/${id}`}, t('company_n', id));
    return panel('companies', t('companies'), {as_of: told?.as_of, folds: true, note: t('companies_note', duration(told?.window_s ?? null))},
        h('div', {class: 'pair'},
            h('div', {}, h('h3', {}, t('wait_most')), table(t('wait_most'), [
                {head: t('company'), kind: 'lead', cell: c => company(c.company_id)}, {head: t('times_waited'), kind: 'num', cell: c => number(c.waits)}, {head: t('waited'), kind: 'num', cell: c => duration(c.wait_s)},
            ], told?.wait_most, c => c.company_id, t('nobody_waits'))),
            h('div', {}, h('h3', {}, t('use_most')), table(t('use_most'), [
                {head: t('company'), kind: 'lead', cell: c => company(c.company_id)}, {head: t('requests'), kind: 'num', cell: c => number(c.requests)}, {head: t('worked'), kind: 'num', cell: c => duration(c.busy_s)},
            ], told?.use_most, c => c.company_id, t('nobody_uses')))));
}

function routes(stats) {
    const codes = row => Object.entries(row.codes).map(([code, n]) => h('span', {class: `code is-${code[0]}`, key: code}, code, ' ', h('b', {}, number(n))));
    return panel('routes', t('routes'), {as_of: stats.broker.as_of, folds: true},
        table(t('routes'), [
            {head: t('route'), kind: 'lead mono', cell: r => `${r.method} ${r.route}`},
            {head: t('rate'), kind: 'num', cell: r => rate(r.per_s)},
            {head: t('latency_head'), kind: 'num', hint: t('percentiles_hint'), cell: r => percentiles(r.latency_s)},
            {head: t('codes'), cell: codes},
        ], stats.broker.routes.slice(0, 12), r => r.method + r.route, t('nothing_asked')));
}

export function draw() {
    const {stats, history} = world;
    slowLook();
    if (!stats)
        return h('p', {class: 'empty', key: 'none'}, t('connecting'));
    return [tiles(stats), h('div', {class: `grid${world.link === 'live' ? '' : ' is-stale'}`, key: 'grid'},
        history && charts(history), lanes(stats), durable(stats), processes(stats), robots(stats), companies(stats), routes(stats))];
}
