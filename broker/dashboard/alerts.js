// SPDX-License-Identifier: MIT
/* alerts.js - what is wrong, acknowledged or muted where it is read; and said by the browser while the page is open. */
import {h} from './view.js';
import {t, word} from './text.js';
import {world, mayAct, act} from './broker.js';
import {button, confirm, tell} from './part.js';
import {moment} from './format.js';

const HELD_MS = 5000; /* it is said by the browser when it has held for so long */
const KEY = 'chasqui.notify';
let redraw = () => {}, seen = null; /* code and who -> since when, or true once it was said; null = the page has just begun */

export function alertsDrawnBy(draw) {
    redraw = draw;
}

/* ---- who knows of it ------------------------------------------------------------------------------------------ */

export function acknowledge(one, done = () => {}) {
    confirm({title: t('ack_title'), body: one.text, action: t('ack'), inputs: [{name: 'reason', label: t('reason')}],
        run: async ({reason}) => {
            await act(`/alerts/${one.alert.id}/ack`, {reason: reason || undefined});
            done();
            return t('ack_told');
        }});
}

export function mute(one, done = () => {}) {
    confirm({title: t('mute_title'), body: one.text, action: t('mute'),
        inputs: [{name: 'for_s', label: t('pause_for'), options: [['1800', t('minutes', 30)], ['7200', t('hours', 2)], ['28800', t('hours', 8)], ['86400', t('hours', 24)]]}, {name: 'reason', label: t('reason')}],
        run: async ({for_s, reason}) => {
            await act('/alerts/mute', {code: one.code, who: one.who || undefined, for_s: Number(for_s), reason: reason || undefined});
            done();
            return t('mute_told');
        }});
}

export function unmute(one, done = () => {}) {
    confirm({title: t('unmute_title'), body: one.text, action: t('unmute'),
        run: async () => {
            await act('/alerts/unmute', {code: one.code, who: one.who || undefined});
            done();
            return t('unmute_told');
        }});
}

/* Behind a sentence. Nothing while no dispatcher knows it as an alert. */
export function tools(one) {
    const alert = one.alert;
    if (!alert || world.link !== 'live')
        return null;
    return h('span', {class: 'state-tools'},
        alert.acked_by && h('small', {}, t('acked_by', alert.acked_by), alert.ack_reason && ` “${alert.ack_reason}”`), alert.muted_until && h('small', {}, t('muted_until', moment(alert.muted_until))),
        mayAct() && [
            !alert.acked_by && button(t('ack'), () => acknowledge(one), {kind: 'small', label: t('ack_of', one.text)}),
            alert.muted_until ? button(t('unmute'), () => unmute(one), {kind: 'small', label: t('unmute_of', one.text)}) : button(t('mute'), () => mute(one), {kind: 'small', label: t('mute_of', one.text)})]);
}

/* ---- said by the browser -------------------------------------------------------------------------------------- */

function isWished() {
    try {
        return localStorage.getItem(KEY) === '1';
    } catch {
        return false;
    }
}

function wish(isOn) {
    try {
        localStorage.setItem(KEY, isOn ? '1' : '0');
    } catch { /* then it is not kept, and stays off */ }
    redraw();
}

/* Asked by a click only. */
async function turnOn() {
    const answer = await Notification.requestPermission();
    wish(answer === 'granted');
    if (answer !== 'granted')
        tell(t('notify_refused'), 'bad');
}

export function notifySwitch() {
    if (!('Notification' in window) || !window.isSecureContext)
        return null;
    const isOn = isWished() && Notification.permission === 'granted';
    return h('p', {class: 'state-notify'}, button(isOn ? t('notify_off') : t('notify_on'), isOn ? () => wish(false) : turnOn, {kind: 'small', title: t('notify_hint')}));
}

/* At each drawing. What is there already when the page begins is read, not said. */
export function notify() {
    const now = Date.now(), all = (world.stats?.words || []).filter(one => one.level !== 'ok'), key = one => `${one.code} ${one.who || ''}`;
    if (!world.stats || world.link !== 'live')
        return;
    const isFirst = seen === null, before = seen || new Map();
    seen = new Map(all.map(one => [key(one), isFirst ? true : before.get(key(one)) ?? now]));
    if (!isWished() || !('Notification' in window) || Notification.permission !== 'granted')
        return;
    for (const one of all)
        if (seen.get(key(one)) !== true && now >= seen.get(key(one)) + HELD_MS) {
            seen.set(key(one), true);
            if (!one.alert?.acked_by && !one.alert?.muted_until)
                new Notification('Chasqui', {body: word(one, 'text'), tag: key(one), icon: 'dashboard/icon.svg'});
        }
}
