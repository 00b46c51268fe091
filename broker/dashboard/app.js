// SPDX-License-Identifier: MIT
/*
 * app.js - the page: which view the address names, the frame around it, and when it is drawn. Everything is drawn from
 * `world` and the views' own state, at most once a turn of the browser; only what differs touches the document.
 */
import {h, show} from './view.js';
import {t, language, setLanguage, LANGUAGES} from './text.js';
import {world, watch, begin, logOut} from './broker.js';
import {dialog, dialogsDrawnBy, closeDialog} from './part.js';
import {chartsDrawnBy} from './chart.js';
import {listsDrawnBy} from './list.js';
import {picksDrawnBy} from './picked.js';
import {thingsDrawnBy} from './thing.js';
import * as overview from './overview.js';
import * as robots from './robots.js';
import * as sessions from './sessions.js';
import * as jobs from './jobs.js';
import * as job from './job.js';
import * as batches from './batches.js';
import * as errors from './errors.js';
import * as tokens from './tokens.js';
import * as history from './history.js';
import * as portals from './portals.js';
import * as schedules from './schedules.js';
import * as batch from './batch.js';
import * as company from './company.js';
import * as find from './find.js';
import * as audit from './audit.js';
import * as alerts from './alertlist.js';
import {alertsDrawnBy, notify} from './alerts.js';
import * as login from './login.js';
import './keys.js';

const VIEWS = {'': overview, robots, sessions, jobs, batches, schedules, portals, errors, history, alerts, tokens, audit, find};
const ONES = {jobs: [job, 'job_n'], batches: [batch, 'batch_title'], companies: [company, 'company_title']}; /* a page of one thing: what shows it, its title */
const TABS = ['', 'robots', 'sessions', 'jobs', 'batches', 'schedules', 'portals', 'errors', 'history', 'alerts', 'tokens', 'audit'];
const THEMES = ['auto', 'light', 'dark'];
let view = '', part = null, isDue = false, entered = null, tabSeen = null;

/* ---- what the address says ----------------------------------------------------------------------------------- */

function route() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    const [name, id] = path.split('/');
    view = name in VIEWS || (name in ONES && id) ? name : '';
    part = view in ONES && id ? decodeURIComponent(id) : null;
    const here = location.hash;
    if (world.phase !== 'here' || entered === here)
        return;
    const isTurn = entered !== null;
    if (isTurn)
        closeDialog();
    entered = here;
    if (part)
        ONES[view][0].enter(part, new URLSearchParams(query));
    else
        VIEWS[view].enter?.(new URLSearchParams(query));
    draw();
    if (isTurn && !document.activeElement?.closest?.('form, .chipsbar')) {
        scrollTo(0, 0);
        document.getElementById('main')?.focus({preventScroll: true});
    }
}

/* ---- the frame ------------------------------------------------------------------------------------------------ */

function setTheme(theme) {
    if (theme === 'auto')
        delete document.documentElement.dataset.theme;
    else
        document.documentElement.dataset.theme = theme;
    try {
        localStorage.setItem('chasqui.theme', theme);
    } catch { /* for this visit only, then */ }
    draw();
}

function pick(label, value, options, choose, id) {
    return h('label', {class: 'pick', for: id, key: id}, h('span', {class: 'heard-only'}, label),
        h('select', {id, onchange: event => choose(event.currentTarget.value)}, options.map(([key, text]) => h('option', {value: key, selected: key === value}, text))));
}

function switches() {
    const theme = document.documentElement.dataset.theme || 'auto';
    return [pick(t('language'), language(), Object.entries(LANGUAGES), code => { setLanguage(code); document.documentElement.lang = code; draw(); }, 'pick-language'),
        pick(t('theme'), theme, THEMES.map(name => [name, t('theme_' + name)]), setTheme, 'pick-theme')];
}

function navigation() {
    const link = (name, text) => h('a', {href: `#/${name}`, key: name, 'aria-current': view === name ? 'page' : null}, text);
    return h('nav', {class: 'tabs', 'aria-label': t('views')}, TABS.map(name => link(name, t(name ? name + '_title' : 'overview'))));
}

function header() {
    return h('header', {class: 'top', key: 'top'},
        h('div', {class: 'weave', 'aria-hidden': 'true'}),
        h('div', {class: 'top-row'},
            h('a', {class: 'brand', href: '#/', 'aria-label': t('home')}, h('img', {src: 'dashboard/icon.svg', alt: '', width: 28, height: 28}), h('span', {}, 'Chasqui')),
            navigation(),
            h('div', {class: 'top-tools'}, find.box(), switches(),
                h('span', {class: 'who', title: t('token')}, world.me.token.name || `#${world.me.token.id}`, world.me.ability !== 'ops' && h('small', {}, t('reads_only'))),
                h('button', {type: 'button', class: 'button is-quiet', onclick: logOut}, t('log_out')))));
}

function whole() {
    const current = part ? ONES[view][0] : VIEWS[view], title = part ? t(ONES[view][1], part) : view === 'find' ? t('find') : t(view ? view + '_title' : 'overview');
    return [
        h('a', {class: 'skip', href: '#main', key: 'skip', onclick: event => { event.preventDefault(); document.getElementById('main').focus(); }}, t('skip')),
        header(),
        overview.stateLine(view === ''),
        overview.saying(),
        h('main', {id: 'main', tabindex: -1, key: 'main-' + view + (part ? '-one' : ''), class: `view view-${part ? 'one' : view || 'overview'}`},
            h('h1', {class: 'heard-only'}, t('title_of', title)),
            current.draw()),
        h('footer', {class: 'foot', key: 'foot'}, t('foot', world.me.broker, world.me.version)),
        dialog(),
    ];
}

function starting() {
    return h('main', {class: 'door', key: 'starting', id: 'main'}, h('div', {class: 'weave', 'aria-hidden': 'true'}),
        h('div', {class: 'door-form'}, h('img', {src: 'dashboard/icon.svg', alt: '', width: 56, height: 56}), h('h1', {}, 'Chasqui'),
            h('p', {role: 'status'}, world.link === 'gone' ? overview.words()[0].text : t('connecting'))));
}

function drawNow() {
    isDue = false;
    const root = document.getElementById('page');
    if (world.phase === 'here') {
        if (entered === null)
            route();
        show(root, whole());
        if (tabSeen !== view) /* on a phone there are more tabs than fit */
            root.querySelector('.tabs [aria-current]')?.scrollIntoView({block: 'nearest', inline: 'nearest'});
        tabSeen = view;
    } else {
        entered = tabSeen = null;
        show(root, world.phase === 'login' ? login.draw(switches()) : starting());
    }
    notify();
    const level = world.phase === 'here' ? overview.words()[0]?.level : null;
    document.title = (level === 'bad' ? '✖ ' : level === 'warn' ? '▲ ' : '') + 'Chasqui';
}

function draw() {
    if (isDue)
        return;
    isDue = true;
    setTimeout(drawNow, 0);
}

document.documentElement.lang = language();
for (const drawnBy of [dialogsDrawnBy, chartsDrawnBy, listsDrawnBy, picksDrawnBy, thingsDrawnBy, login.loginDrawnBy, job.jobDrawnBy, alertsDrawnBy])
    drawnBy(draw);
addEventListener('hashchange', route);
watch(draw, (kind, event) => (part ? ONES[view][0] : VIEWS[view]).happened?.(kind, event));
setInterval(() => world.link !== 'live' && draw(), 1000); /* "12 s ago" goes on without the broker */
begin();
draw();
route();
