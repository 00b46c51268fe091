// SPDX-License-Identifier: MIT
/*
 * view.js - what is shown, as a value, and the least change of the document that shows it.
 *
 * h() describes an element, show() makes the children of an element be what is described: elements that are there
 * already are changed, so that focus, scroll and what somebody types stay. Strings become text nodes and nothing
 * else: there is no way from a string to markup here (and the page's policy forbids the others).
 *
 * props: on* = listeners, `key` = which of its siblings it is, `value` and `checked` are set as properties, false,
 * null and undefined take an attribute away; a tag "svg:path" is SVG.
 */
const SVG = 'http://www.w3.org/2000/svg';

export function h(tag, props, ...kids) {
    return {tag, props: props || {}, key: props?.key, kids: flat(kids)};
}

function flat(kids) {
    return kids.flat(Infinity).filter(kid => kid !== null && kid !== undefined && kid !== false && kid !== true)
        .map(kid => (typeof kid === 'object' ? kid : {tag: '', text: String(kid)}));
}

export function show(root, ...kids) {
    patchKids(root, flat(kids));
}

function make(v) {
    if (!v.tag)
        return document.createTextNode(v.text);
    return v.tag.startsWith('svg:') ? document.createElementNS(SVG, v.tag.slice(4)) : document.createElement(v.tag);
}

function setProp(node, name, value, before) {
    if (name === 'key')
        return;
    if (name.startsWith('on')) {
        if (before)
            node.removeEventListener(name.slice(2), before);
        if (value)
            node.addEventListener(name.slice(2), value);
    } else if (name === 'value' || name === 'checked') {
        if (value !== undefined && node[name] !== value)
            node[name] = value;
    } else if (value === false || value === null || value === undefined) {
        node.removeAttribute(name);
    } else {
        node.setAttribute(name, value === true ? '' : value);
    }
}

function update(node, v) {
    const before = node.shown;
    node.shown = v;
    if (!v.tag) {
        if (!before || before.text !== v.text)
            node.data = v.text;
        return;
    }
    for (const name in v.props)
        if (before?.props[name] !== v.props[name] || name === 'value' || name === 'checked')
            setProp(node, name, v.props[name], before?.props[name]);
    for (const name in before?.props)
        if (!(name in v.props))
            setProp(node, name, undefined, before.props[name]);
    if (v.props.foreign !== true) /* its children are somebody else's */
        patchKids(node, v.kids);
    v.props.onshown?.call(node, node);
}

function patchKids(parent, kids) {
    const wanted = new Set(kids.map(kid => kid.key).filter(key => key !== undefined)), there = new Map();
    for (const node of [...parent.childNodes]) {
        const key = node.shown?.key;
        if (key === undefined)
            continue;
        if (wanted.has(key))
            there.set(key, node);
        else
            node.remove();
    }
    let at = parent.firstChild;
    for (const kid of kids) {
        let node = kid.key !== undefined ? there.get(kid.key) : at?.shown && at.shown.key === undefined ? at : null;
        if (node?.shown.tag !== kid.tag)
            node = make(kid);
        if (node === at)
            at = at.nextSibling;
        else
            parent.insertBefore(node, at);
        update(node, kid);
    }
    while (at) {
        const next = at.nextSibling;
        at.remove();
        at = next;
    }
}
