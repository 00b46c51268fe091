// SPDX-License-Identifier: MIT
/* tokens.js - who may call: made here and shown this once, revoked, and what each asked of this broker lately. */
import {h} from './view.js';
import {t, name as nameOf} from './text.js';
import {mayAct, ask, act, remove} from './broker.js';
import {badge, table, button, confirm} from './part.js';
import {number, moment, ago} from './format.js';
import {List} from './list.js';

/* A page of tokens, and beside each what it asked; a broker counts since its start. */
class Tokens extends List {
    async page(cursor, turn) {
        const [told, use] = await Promise.all([super.page(cursor, turn), ask('/tokens/use')]);
        this.use = new Map(use.tokens.map(one => [one.id, one]));
        return told;
    }
}

const list = new Tokens('tokens', '/tokens', 'tokens', []);
const EXPIRES = [['', ['expires_never']], ['86400', ['hours', 24]], ['2592000', ['days', 30]], ['31536000', ['days', 365]]];
const ABILITIES = [['ops:read', 'token_reads'], ['ops', 'token_operates'], ['app', 'token_app'], ['app,ops', 'token_all']];

function companiesOf(text) {
    const ids = text.split(/[\s,;]+/).filter(Boolean);
    if (ids.length === 1 && ids[0] === '*')
        return '*';
    if (!ids.length || !ids.every(id => /^[1-9][0-9]{0,18}$/.test(id)))
        throw new Error(t('token_companies_why'));
    return ids;
}

/* Only the open dialog holds the secret: it is gone with it. */
function show({id, name, token}) {
    confirm({title: t('token_made', id), action: t('token_kept'), isTold: true, isKept: true,
        body: () => h('div', {}, h('p', {}, t('token_once')),
            h('p', {}, h('code', {class: 'secret', tabindex: 0, 'aria-label': t('token')}, token)),
            navigator.clipboard && h('p', {}, button(t('copy'), () => navigator.clipboard.writeText(token), {kind: 'small'}))),
        run: () => t('token_made_told', name)});
}

function create() {
    confirm({title: t('make_token'), body: t('make_token_body'), action: t('make_token'),
        inputs: [{name: 'name', label: t('token_name'), required: true, max: 100}, {name: 'abilities', label: t('token_may'), options: ABILITIES.map(([value, word]) => [value, t(word)])},
            {name: 'companies', label: t('token_companies'), hint: '*', max: 2000}, {name: 'rate_per_minute', label: t('token_rate'), hint: '600', max: 8},
            {name: 'expires_s', label: t('token_expires'), options: EXPIRES.map(([value, words]) => [value, t(...words)])}, {name: 'reason', label: t('reason')}],
        run: async ({name, abilities, companies, rate_per_minute, expires_s, reason}) => {
            if (rate_per_minute && !/^[0-9]{1,8}$/.test(rate_per_minute))
                throw new Error(t('token_rate_why'));
            const told = await act('/tokens', {name: name.trim(), abilities: abilities.split(','), companies: companiesOf(companies.trim() || '*'),
                rate_per_minute: rate_per_minute ? Number(rate_per_minute) : undefined, expires_s: expires_s ? Number(expires_s) : undefined, reason: reason || undefined});
            list.load();
            setTimeout(() => show(told), 0); /* this dialog is closed first */
            return null;
        }});
}

function revoke(token) {
    confirm({title: t('revoke_title', token.name || token.id), body: t('revoke_body'), action: t('revoke'), kind: 'danger', inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await remove(`/tokens/${token.id}`, {reason: reason || undefined});
            list.load();
            return t('revoke_told', token.name || token.id);
        }});
}

export function enter(query) {
    list.enter(query);
}

export function draw() {
    const use = token => list.use?.get(token.id);
    return list.frame('tokens', t('tokens_title'), null,
        table(t('tokens_title'), [
            {head: t('token'), kind: 'lead', cell: k => [h('b', {}, k.name || '–'), h('small', {}, `#${k.id}`)]},
            {head: t('state'), cell: k => badge(k.state, k.state === 'good' ? 'ok' : 'idle', nameOf('token_' + k.state))},
            {head: t('token_may'), kind: 'mono', cell: k => k.abilities.join(', ')},
            {head: t('error_companies'), cell: k => (k.all_companies ? t('all_companies') : k.companies.length > 3 ? number(k.companies.length) : k.companies.join(', '))},
            {head: t('token_rate'), kind: 'num', cell: k => (k.rate_per_minute ? number(k.rate_per_minute) : '–')},
            {head: t('last_used'), kind: 'when', cell: k => (use(k)?.last_at ? ago(use(k).last_at) : '–')},
            {head: t('calls'), kind: 'num', cell: k => number(use(k)?.calls ?? 0)},
            {head: '429', kind: 'num', cell: k => h('span', {class: use(k)?.limited ? 'is-bad-text' : null}, number(use(k)?.limited ?? 0))},
            {head: t('token_expires'), kind: 'when', cell: k => (k.expires_at ? moment(k.expires_at) : t('expires_never'))},
            {head: t('actions'), kind: 'act', cell: k => mayAct() && k.state === 'good' && button(t('revoke'), () => revoke(k), {kind: 'small', label: t('revoke_title', k.name || k.id)})},
        ], list.rows, k => k.id, t('no_tokens')),
        mayAct() && button(t('make_token'), create), t('tokens_note'));
}
