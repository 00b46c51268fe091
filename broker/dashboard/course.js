// SPDX-License-Identifier: MIT
/* course.js - how a batch goes: when its items ended, its robots with the slowest first, and what takes longest. */
import {h} from './view.js';
import {t} from './text.js';
import {panel, badge, table} from './part.js';
import {number, duration, moment} from './format.js';
import {chart} from './chart.js';

/* Those that failed have an axis of their own: they are few, and matter. */
function curves(batch, told) {
    const n = batch.finished_at || told.n < 2 ? told.n : told.n - 1; /* a step that is not over would look like a fall */
    const common = {from: told.from, step_s: told.step_s, n, span: Math.max(1, n - 1), gaps: true, whole: true, unit: v => number(v), newest: t('course_last_step')};
    return [['done', 1, 'course_none_done'], ['failed', 'bad', 'course_none_failed']].filter(([key]) => key === 'done' || batch.counts.failed > 0).map(([key, tone, quiet]) => {
        const title = t(`course_${key}`, duration(told.step_s));
        return h('section', {class: 'history-curve', key}, h('h3', {}, title),
            chart({...common, id: `course-${batch.id}-${key}`, title, quiet: t(quiet), series: [{name: key, label: t(key), values: told[key].slice(0, n), tone, kind: key === 'done' ? 'area' : 'line'}]}));
    });
}

function robots(told) {
    return panel('course-robots', t('course_robots'), {steady: true, note: t('course_robots_note')},
        table(t('course_robots'), [
            {head: t('robot'), kind: 'lead', cell: r => h('a', {href: `#/robots?${new URLSearchParams({name: r.worker})}`}, r.worker)},
            {head: t('history_logins'), kind: 'num', cell: r => number(r.attempts)},
            {head: t('course_median'), kind: 'num', cell: r => h('b', {}, r.login_p50_ms === null ? '–' : duration(r.login_p50_ms / 1000))},
            {head: t('failed'), kind: 'num', cell: r => h('span', {class: r.failed ? 'is-bad-text' : null}, number(r.failed))},
            {head: t('history_robot_faults'), kind: 'num', cell: r => number(r.faults)},
        ], told.robots, r => r.worker, t('history_no_robot')));
}

function longest(batch, told) {
    const title = t(batch.finished_at ? 'course_took_longest' : 'course_runs_longest');
    return panel('course-tail', title, {steady: true, note: batch.finished_at ? null : t('course_runs_note')},
        table(title, [
            {head: t('company'), kind: 'lead', cell: i => [h('a', {href: `#/companies/${i.company_id}`}, String(i.company_id)), h('small', {}, `#${i.index}`)]},
            {head: t('state'), cell: i => [badge(i.status), i.error && h('small', {}, i.error)]},
            {head: t('course_for'), kind: 'num', cell: i => h('b', {title: moment(i.began_at)}, duration(i.took_ms / 1000))},
            {head: t('attempts'), kind: 'num minor', cell: i => String(i.attempts)},
            {head: t('robot'), cell: i => i.worker || '–'},
            {head: t('job'), kind: 'num', cell: i => (i.job_id ? h('a', {href: `#/jobs/${i.job_id}`}, String(i.job_id)) : '–')},
        ], told.tail, i => i.index, t('course_nothing_runs')));
}

export function course(batch, told, as_of) {
    const notes = [told.sampled && t('course_sampled', number(told.looked)), told.untimed > 0 && t('course_untimed', number(told.untimed))].filter(Boolean).join(' ');
    return [
        panel('course', t(batch.finished_at ? 'course_went' : 'course_goes'), {as_of, steady: true, wide: true, note: notes || null},
            told.n ? h('div', {class: 'history-curves'}, curves(batch, told)) : h('p', {class: 'empty'}, t('course_not_begun'))),
        (told.robots.length > 0 || told.tail.length > 0) && h('div', {class: 'grid', key: 'course-grid'}, robots(told), longest(batch, told)),
    ];
}
