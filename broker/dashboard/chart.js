// SPDX-License-Identifier: MIT
/*
 * chart.js - lines and stacked areas over time, as SVG: the last hour, or what the caller says. With a pointer over it or the arrow keys the legend
 * shows the values of that moment instead of the newest ones.
 */
import {h} from './view.js';
import {t, language} from './text.js';
import {clock, moment} from './format.js';

const DAY_S = 86400, HEIGHT = 168, TOP = 10, BOTTOM = 22, LEFT_LEAST = 44, GLYPH = 6.4, RIGHT = 8;
const width = new Map(), cursor = new Map(), hidden = new Set();
let redraw = () => {};

export function chartsDrawnBy(draw) {
    redraw = draw;
    addEventListener('resize', draw);
}

/* 1, 2 or 5 times a power of ten, so that three or four of them reach max. */
function stepFor(max) {
    const raw = max / 3, ten = 10 ** Math.floor(Math.log10(raw));
    return ten * [1, 2, 5, 10].find(n => n * ten >= raw);
}

/* A point between two gaps is a dot. */
function path(points) {
    let d = '', isOn = false;
    points.forEach(([x, y], i) => {
        if (y !== null)
            d += `${isOn ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}${isOn || (points[i + 1]?.[1] ?? null) !== null ? '' : 'h1.5'}`;
        isOn = y !== null;
    });
    return d;
}

/* Seconds between two marks of the time axis. */
function markEvery(length_s, isNarrow) {
    if (length_s <= 150)
        return isNarrow ? 60 : 30;
    if (length_s <= 600)
        return isNarrow ? 120 : 60;
    if (length_s <= 1200)
        return isNarrow ? 600 : 300;
    if (length_s <= 3600)
        return isNarrow ? 1200 : 600;
    return length_s > DAY_S ? DAY_S : isNarrow ? 6 * 3600 : 3 * 3600;
}

/* series: [{name, label, values, kind: 'area' | 'line' | 'ghost', tone}]; areas stand on each other, a ghost is a time before. `span`: steps but one; `gaps`: null at the beginning is one. Values may be null: nobody
 * was there to measure. `unit` makes text of a value, `quiet` says in words what an empty chart means, `newest` what the last value is; `whole`: there are no fractions of it. */
export function chart({id, title, from, step_s, n, series, unit, quiet, span = 359, gaps = false, newest = t('now'), whole = false}) {
    const w = Math.max(260, width.get(id) || 560), plotH = HEIGHT - TOP - BOTTOM;
    const shown = series.filter(s => !hidden.has(id + s.name));
    const floor = new Array(n).fill(0), drawn = [];
    let max = 0;
    for (const s of shown) {
        const base = s.kind === 'area' ? floor.slice() : null;
        const tops = s.values.map((v, i) => (v === null || v === undefined ? null : v + (base ? base[i] : 0)));
        if (base)
            tops.forEach((v, i) => { if (v !== null) floor[i] = v; });
        max = Math.max(max, ...tops.map(v => v || 0));
        drawn.push({...s, base, tops});
    }
    const isQuiet = max === 0, tick = isQuiet ? 1 : Math.max(whole ? 1 : 0, stepFor(max)), high = isQuiet ? 1 : Math.ceil(max / tick - 1e-9) * tick;
    const marks = isQuiet ? [] : Array.from({length: Math.round(high / tick) + 1}, (_, i) => [i * tick, unit(i * tick)]);
    const left = Math.max(LEFT_LEAST, ...marks.map(([, text]) => 10 + text.length * GLYPH)), plotW = w - left - RIGHT; /* the longest mark is not cut */
    const x = i => left + ((i + span + 1 - n) / span) * plotW;
    const y = v => (v === null ? null : TOP + plotH - (v / high) * plotH);
    const at = Math.min(cursor.has(id) ? cursor.get(id) : n - 1, n - 1), isPointed = cursor.has(id);
    const began = Date.parse(from), time = i => new Date(began + i * step_s * 1000);

    const ticks = [], first = gaps ? 0 : Math.max(0, series[0]?.values.findIndex(v => v !== null) ?? 0);
    if (x(first) > left + 60) /* nobody measured before */
        ticks.push(h('svg:rect', {class: 'before', x: left, y: TOP, width: x(first) - left, height: plotH}),
            h('svg:text', {class: 'tick', x: (left + x(first)) / 2, y: TOP + plotH / 2 + 4, 'text-anchor': 'middle'}, t('chart_before', clock(time(first).toISOString()).slice(0, 5))));
    for (const [v, text] of marks)
        ticks.push(h('svg:g', {}, h('svg:line', {class: 'grid', x1: left, x2: w - RIGHT, y1: y(v), y2: y(v)}),
            h('svg:text', {class: 'tick', x: left - 6, y: y(v) + 4, 'text-anchor': 'end'}, text)));
    const every_s = markEvery(span * step_s, w < 420), isLong = every_s >= DAY_S, days = Math.ceil(span * step_s / (8 * DAY_S));
    const text = when => (isLong ? when.toLocaleDateString(language(), {day: 'numeric', month: 'short'}) : clock(when.toISOString()).slice(0, every_s < 60 ? 8 : 5));
    const said = when => (step_s < 60 ? clock(when.toISOString()) : moment(when.toISOString()));
    for (let i = n - 1 - span; i < n; i++) {
        const when = time(i), seconds = when.getHours() * 3600 + when.getMinutes() * 60 + when.getSeconds();
        if (seconds % every_s < step_s && (!isLong || Math.floor((when - when.getTimezoneOffset() * 60000) / (DAY_S * 1000)) % days === 0) && x(i) > left + 14 && x(i) < w - 24)
            ticks.push(h('svg:text', {class: 'tick', x: x(i), y: HEIGHT - 5, 'text-anchor': 'middle'}, text(when)));
    }
    const areas = drawn.filter(s => s.base).map(s => {
        const top = s.tops.map((v, i) => [x(i), y(v ?? floor[i] * 0)]);
        const under = s.base.map((v, i) => [x(i), y(v)]).reverse();
        return h('svg:path', {class: `area tone-${s.tone}`, d: path(top) + 'L' + path(under).slice(1) + 'Z', key: 'a' + s.name});
    }).reverse();
    const lines = drawn.map(s => h('svg:path', {class: `line tone-${s.tone}${s.kind === 'ghost' ? ' is-ghost' : ''}`, d: path(s.tops.map((v, i) => [x(i), y(v)])), key: 'l' + s.name}));

    const point = event => {
        const box = event.currentTarget.getBoundingClientRect(), px = ((event.clientX - box.left) / box.width) * w;
        cursor.set(id, Math.max(0, Math.min(n - 1, Math.round(((px - left) / plotW) * span - (span + 1 - n)))));
        redraw();
    };
    const leave = () => { cursor.delete(id); redraw(); };
    const key = event => {
        const move = {ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -n, End: n}[event.key];
        if (move === undefined)
            return;
        event.preventDefault();
        cursor.set(id, Math.max(0, Math.min(n - 1, at + move)));
        redraw();
    };
    const summary = shown.map(s => `${s.label}: ${unit(s.values[at] ?? null)}`).join(', ');
    return h('figure', {class: 'chart', key: id},
        h('svg:svg', {viewBox: `0 0 ${w} ${HEIGHT}`, height: HEIGHT, role: 'slider', tabindex: 0, 'aria-label': title, 'aria-valuemin': 0, 'aria-valuemax': n - 1,
            'aria-valuenow': at, 'aria-valuetext': `${said(time(at))}: ${summary}`, onpointermove: point, onpointerleave: leave, onkeydown: key, onblur: leave,
            onshown: node => {
                const now = Math.round(node.parentNode?.clientWidth || 0);
                if (now && now !== width.get(id)) {
                    width.set(id, now);
                    redraw();
                }
            }},
            ticks,
            h('svg:line', {class: 'axis', x1: left, x2: w - RIGHT, y1: TOP + plotH, y2: TOP + plotH}),
            !isQuiet && [areas, lines],
            isQuiet && x(first) <= left + 60 && h('svg:text', {class: 'quiet', x: left + plotW / 2, y: TOP + plotH / 2 + 4, 'text-anchor': 'middle'}, quiet),
            isPointed && h('svg:line', {class: 'cursor', x1: x(at), x2: x(at), y1: TOP, y2: TOP + plotH})),
        h('figcaption', {class: 'legend'},
            h('span', {class: 'legend-time'}, isPointed ? said(time(at)) : newest),
            series.map(s => {
                const isOff = hidden.has(id + s.name);
                return h('button', {type: 'button', key: s.name, class: `legend-item tone-${s.tone}${isOff ? ' is-off' : ''}`, 'aria-pressed': String(!isOff),
                    onclick: () => { isOff ? hidden.delete(id + s.name) : hidden.add(id + s.name); redraw(); }},
                    h('i', {class: s.kind === 'ghost' ? 'line is-ghost' : s.kind}), s.label, ' ', h('b', {}, unit(s.values[at] ?? null)));
            })));
}
