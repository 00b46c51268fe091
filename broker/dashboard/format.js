// SPDX-License-Identifier: MIT
/* format.js - numbers and times for people, in the page's language and the reader's time zone. */
import {language, t} from './text.js';

const NONE = '–';

export function number(n, digits = 0) {
    if (n === null || n === undefined)
        return NONE;
    return new Intl.NumberFormat(language(), {maximumFractionDigits: digits}).format(n);
}

/* {n, capped} or a number. */
export function count(c) {
    if (c === null || c === undefined)
        return NONE;
    if (typeof c === 'number')
        return number(c);
    if (!c.capped)
        return number(c.n);
    return (c.n >= 1000 && c.n % 1000 === 0 ? number(c.n / 1000) + 'k' : number(c.n)) + '+';
}

export function rate(per_s) {
    if (per_s === null || per_s === undefined)
        return NONE;
    if (per_s === 0)
        return '0';
    return per_s < 0.95 ? t('per_min', number(per_s * 60, per_s < 0.1 ? 1 : 0)) : t('per_s', number(per_s, per_s < 10 ? 1 : 0));
}

export function duration(s) {
    if (s === null || s === undefined)
        return NONE;
    if (s === 0)
        return '0 s';
    if (s < 0.0995)
        return number(s * 1000, s < 0.00995 ? 1 : 0) + ' ms';
    if (s < 9.95)
        return number(s, 1) + ' s';
    s = Math.round(s);
    if (s < 60)
        return s + ' s';
    const m = Math.floor(s / 60), hours = Math.floor(m / 60), days = Math.floor(hours / 24);
    if (m < 60)
        return m + ' min' + (m < 10 && s % 60 ? ` ${s % 60} s` : '');
    if (hours < 48)
        return hours + ' h' + (m % 60 ? ` ${m % 60} min` : '');
    return days + ' d' + (hours % 24 ? ` ${hours % 24} h` : '');
}

export function clock(iso) {
    return iso ? new Date(iso).toLocaleTimeString(language(), {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false}) : NONE;
}

/* The day too, when it is another one. */
export function moment(iso) {
    if (!iso)
        return NONE;
    const at = new Date(iso), isToday = at.toDateString() === new Date().toDateString();
    if (isToday)
        return clock(iso);
    return at.toLocaleDateString(language(), {day: 'numeric', month: 'short'}) + ' ' + clock(iso).slice(0, 5);
}

/* Of what is known by the minute: its seconds would say more than that. */
export function minute(iso) {
    const text = moment(iso), at = clock(iso);
    return text === at ? at.slice(0, 5) : text;
}

export function secondsSince(iso) {
    return (Date.now() - Date.parse(iso)) / 1000;
}

export function ago(iso) {
    if (!iso)
        return NONE;
    const s = secondsSince(iso);
    return s < 1 ? t('now') : s < 0 ? t('in', duration(-s)) : t('ago', duration(s));
}

/* p50 / p95 / p99 of {p50, p95, p99, n}. */
export function percentiles(p) {
    if (!p || !p.n)
        return NONE;
    const parts = [p.p50, p.p95, p.p99].map(duration), units = parts.map(text => text.split(' ').slice(1).join(' '));
    return units.every(unit => unit === units[2]) ? parts.map(text => text.split(' ')[0]).join(' / ') + ' ' + units[2] : parts.join(' / ');
}

export function bytes(n) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let i = 0;
    for (; n >= 1024 && i < 4; i++)
        n /= 1024;
    return number(n, n < 10 && i ? 1 : 0) + ' ' + units[i];
}
