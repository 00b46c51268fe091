// SPDX-License-Identifier: MIT
/* find.js - the one search box: a number, an id or a name, looked for wherever it may stand. What is found alone, or is called exactly so, is gone to. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {world, ask} from './broker.js';
import {panel, badge, table} from './part.js';
import {batchBadge} from './batches.js';
import {Thing} from './thing.js';

const page = new Thing(async text => {
    const kind = kindOf(text), looks = kind && kind[1] in KINDS ? [LOOKS[KINDS[kind[1]]]] : LOOKS, wanted = looks === LOOKS ? text : kind[2];
    const hits = (await Promise.all(looks.map(look => look(wanted).catch(missing)))).flat().filter(Boolean);
    const exact = hits.filter(hit => String(hit.id).toLowerCase() === text.toLowerCase()), [goal] = hits.length === 1 ? hits : exact.length === 1 ? exact : [];
    if (goal && location.hash.startsWith('#/find'))
        location.replace('#/' + goal.to);
    return {hits, text};
});

/* Not there is an answer, a broker that cannot look is none. */
function missing(why) {
    if (![400, 403, 404, 410, 422].includes(why.status))
        throw why;
    return [];
}

/* By a part of its name, on the page that has them all. */
function named(what, rows, text, view) {
    return isNumber(text) ? [] : rows.filter(one => one.name?.toLowerCase().includes(text.toLowerCase())).slice(0, 20).map(one => ({what, id: one.name, to: view}));
}

/* "batch 9" is only batch 9. */
const KINDS = {company: 0, empresa: 0, job: 1, trabajo: 1, batch: 2, lote: 2};
const kindOf = text => /^(\p{L}+)\s+#?([0-9]+)$/u.exec(text.toLowerCase());

const isNumber = text => /^[1-9][0-9]{0,18}$/.test(text);
const LOOKS = [
    async text => {
        if (!isNumber(text))
            return [];
        const {company} = await ask(`/companies/${text}`), isKnown = Object.values(company).some(list => Array.isArray(list) && list.length);
        return isKnown && {what: 'company', id: text, to: `companies/${text}`, state: company.sessions.length ? badge('active', 'ok', t('has_session')) : ''};
    },
    async text => {
        if (!isNumber(text) && !/^[A-Z0-9]{6,16}-[0-9]+$/i.test(text))
            return [];
        const {job} = await ask(`/jobs/${encodeURIComponent(isNumber(text) ? text : text.toUpperCase())}`);
        return {what: 'job', id: job.id, to: `jobs/${job.id}`, state: badge(job.status), more: `${job.action} · ${t('company')} ${job.company_id}`};
    },
    async text => {
        if (isNumber(text)) {
            const {batch} = await ask(`/batches/${text}`);
            return {what: 'batch', id: batch.id, to: `batches/${batch.id}`, state: batchBadge(batch), more: batch.name};
        }
        const {batches} = await ask('/batches', {limit: 200});
        return batches.filter(one => one.name?.toLowerCase().includes(text.toLowerCase())).slice(0, 20)
            .map(one => ({what: 'batch', id: one.id, to: `batches/${one.id}`, state: batchBadge(one), more: one.name}));
    },
    async text => {
        const written = [...new Set([text, text.toLowerCase(), text.toUpperCase()])];
        const found = await Promise.all(written.map(id => ask('/sessions', {session_id: id}).then(({sessions}) => sessions.map(one => ({...one, id})))));
        return found.flat().map(one => ({what: 'session', id: one.session_id, to: 'sessions?' + new URLSearchParams({state: 'all', session_id: one.id}), state: badge(one.state, undefined, nameOf('session_' + one.state)), more: `${t('company')} ${one.company_id}`}));
    },
    async text => named('portal', (await ask('/portals')).portals, text, 'portals'),
    async text => named('schedule', (await ask('/schedules')).schedules, text, 'schedules'),
    async text => named('token', (await ask('/tokens')).tokens, text, 'tokens'),
    async text => (world.stats || await ask('/stats')).robots.filter(robot => robot.name.toLowerCase().includes(text.toLowerCase())).slice(0, 20)
        .map(robot => ({what: 'robot', id: robot.name, to: 'robots?' + new URLSearchParams({name: robot.name}), state: badge(robot.verdict)})),
];

export function enter(query) {
    page.enter((query.get('q') || '').trim().replace(/(…|\.\.\.)$/, '')); /* as a list cuts an id */
}

export function draw() {
    const title = t('find_title', page.id);
    if (!page.told)
        return page.empty('find', title);
    return panel('find', title, {as_of: page.as_of, steady: true, wide: true, note: t('find_note')},
        table(title, [
            {head: t('find_what'), kind: 'lead', cell: f => [h('a', {href: '#/' + f.to}, `${t(f.what)} ${f.id}`), f.more && h('small', {}, f.more)]},
            {head: t('state'), cell: f => f.state || ''},
        ], page.told.hits, f => f.what + f.id, t('find_nothing', page.id)));
}

/* In the frame, on every page. */
export function box() {
    return h('form', {class: 'find', role: 'search', 'aria-label': t('find'), key: 'find', onsubmit: submit},
        h('input', {id: 'find', name: 'q', type: 'search', maxlength: 128, placeholder: t('find_hint'), 'aria-label': t('find'), 'aria-keyshortcuts': '/', autocomplete: 'off', title: t('find_why')}));
}

function submit(event) {
    event.preventDefault();
    const field = event.currentTarget.elements.q, text = field.value.trim();
    if (!text)
        return;
    field.value = '';
    field.blur();
    location.hash = '#/find?' + new URLSearchParams({q: text});
}
