// SPDX-License-Identifier: MIT
/* login.js - the door: an operator's token is shown once; from then on a cookie that holds none. */
import {h} from './view.js';
import {t} from './text.js';
import {world, logIn} from './broker.js';

let busy = false, why = '', redraw = () => {};

export function loginDrawnBy(draw) {
    redraw = draw;
}

async function submit(event) {
    event.preventDefault();
    const field = event.currentTarget.elements.namedItem('token'), token = field.value.trim();
    if (busy || !token)
        return;
    busy = true;
    why = '';
    redraw();
    try {
        await logIn(token);
    } catch (refusal) {
        why = refusal.status === 401 ? t('token_refused') : refusal.status === 403 && !refusal.message.includes('Host ') /* of a proxy in front */ ? t('token_weak') : refusal.status === 429 ? t('token_slow') : refusal.message;
        field.select();
    }
    busy = false;
    redraw();
}

export function draw(switches) {
    const said = why || world.refused;
    return h('main', {class: 'door', id: 'main', key: 'door'},
        h('div', {class: 'weave', 'aria-hidden': 'true'}),
        h('form', {class: 'door-form', onsubmit: submit},
            h('img', {src: 'dashboard/icon.svg', alt: '', width: 56, height: 56}),
            h('h1', {}, 'Chasqui'),
            h('p', {class: 'door-say'}, t('door_say')),
            h('p', {class: 'field'}, h('label', {for: 'token'}, t('token')),
                h('input', {id: 'token', name: 'token', type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false', maxlength: 600, 'aria-describedby': 'door-why door-how',
                    'aria-invalid': why ? 'true' : null,
                    onshown: node => { node.isSeen ||= (queueMicrotask(() => node.focus()), true); }})),
            h('p', {id: 'door-why', class: said ? 'failure' : null, role: 'alert'}, said),
            h('button', {type: 'submit', class: 'button is-primary is-large', disabled: busy}, busy ? t('busy') : t('log_in')),
            h('p', {id: 'door-how', class: 'note'}, t('door_how'), ' ', h('code', {}, "chasqui token create --company '*' --ability ops")),
            location.protocol === 'http:' && !['127.0.0.1', 'localhost', '[::1]'].includes(location.hostname) && h('p', {class: 'strip is-warn'}, t('door_http')),
            h('div', {class: 'door-switches'}, switches)));
}
