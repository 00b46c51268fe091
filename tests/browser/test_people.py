# SPDX-License-Identifier: MIT
"""Keyboard, screen reader, languages, sizes and themes."""

import re
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from dashboard import PICTURES
from harness.wait import wait_until

DASHBOARD = Path(__file__).parents[2] / "broker" / "dashboard"
VIEWS = [("", "Queue by lane"), ("robots", "r3"), ("sessions", "Viewer"), ("jobs", "20110"), ("batches", "12 of 12"), ("schedules", "daily"), ("portals", "sunat"), ("errors", "Refresh"), ("history", "Refresh"), ("alerts", "What is over"), ("tokens", "Make a token"), ("audit", "Refresh")]


def test_by_keyboard_alone(operator):
    operator.open("robots").see("r3", within="main")
    operator.tab()
    assert operator.focused()["name"] == "Skip to the content"
    operator.key(Keys.ENTER)
    wait_until(lambda: operator.js("return document.activeElement.id") == "main", 3, "the content has the focus")
    seen = set()
    for _ in range(40):
        operator.tab()
        at = operator.focused()
        seen.add(at["name"])
        assert at["tag"] == "BODY" or (at["outline"] != "none" and at["width"] >= 1.5), at  # focus is always seen
        if at["name"] == "Drain r1":
            break
    assert "Drain r1" in seen
    operator.key(Keys.ENTER)
    wait_until(lambda: operator.focused()["inside"] == "DIALOG", 3, "focus goes into the dialog")
    for _ in range(9):
        operator.tab()
        assert operator.focused()["inside"] == "DIALOG" or operator.focused()["tag"] == "BODY"  # BODY: the browser's own bar
    operator.key(Keys.ESCAPE)
    wait_until(lambda: operator.focused()["name"] == "Drain r1", 3, "and back")


def test_focus_and_what_is_typed_outlive_the_ticks(operator):
    operator.go("jobs").see("20110", within="main")
    field = operator.field("Company")
    field.send_keys("201")
    at = operator.text(".state-live")
    wait_until(lambda: operator.text(".state-live") != at, 4, "a second passes")
    assert operator.js("return document.activeElement === arguments[0] && arguments[0].value", field) == "201"


def test_for_those_who_hear_it(operator):
    for view, sign in VIEWS:
        operator.go(view).see(sign, within="main")
        wrong = operator.js("""
            const wrong = [], name = one => one.getAttribute('aria-label') || (one.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id)?.innerText).join('')
                || one.labels?.[0]?.innerText || one.innerText;
            for (const tag of ['header', 'nav', 'main', 'footer', 'h1']) if (!document.querySelector(tag)) wrong.push('no ' + tag);
            if (document.querySelectorAll('h1').length !== 1) wrong.push('h1');
            if (!document.querySelector('[aria-live=polite]')) wrong.push('nothing is said');
            for (const one of document.querySelectorAll('button, a, input:not([type=hidden]), select, section, [role=img], [role=slider], table, nav')) if (!name(one)?.trim()) wrong.push(one.outerHTML.slice(0, 120));
            for (const one of document.querySelectorAll('table')) if (!one.querySelector('thead th[scope=col]')) wrong.push('a table without heads');
            for (const one of document.querySelectorAll('[id]')) if (document.querySelectorAll('#' + CSS.escape(one.id)).length > 1) wrong.push('twice: ' + one.id);
            for (const one of document.querySelectorAll('img')) if (one.alt === null) wrong.push('alt');
            return wrong;""")
        assert not wrong, (view, wrong)


def test_in_spanish_and_remembered(operator, house):
    operator.choose("Language", "Español").see("Cola por carril", "Rendimiento, última hora")
    assert operator.js("return document.documentElement.lang") == "es"
    operator.driver.refresh()
    operator.see("Cola por carril")
    for view, word in (("robots", "plazas ocupadas"), ("sessions", "Sesiones"), ("jobs", "Trabajos"), ("batches", "Lotes"), ("schedules", "Horarios"), ("portals", "Portales"), ("errors", "Errores"), ("history", "Historia"), ("tokens", "Crear un token"), ("audit", "Auditoría")):
        operator.go(view).see(word, within="main")
    operator.press("Salir").see("Muestre un token de operador")


def test_every_word_is_there_in_both_languages():
    words = (DASHBOARD / "text.js").read_text()
    rows = dict(re.findall(r"\b([a-z_0-9]+): (\[.*?[^\\]'\])", words))
    assert len(rows) > 300
    for key, row in rows.items():
        texts = re.findall(r"'((?:[^'\\]|\\.)*)'", row)
        assert len(texts) == 2 and all(text.strip() for text in texts), key
        assert set(re.findall(r"\{\d\}", texts[0])) == set(re.findall(r"\{\d\}", texts[1])), key
    for file in DASHBOARD.glob("*.js"):
        script = file.read_text()
        used = set(re.findall(r"\bt\('([a-z_0-9]+)'[,)]", script))
        used |= {word for table in re.findall(r"\bt\(\{([^}]*)\}\[", script) for word in re.findall(r": '([a-z_0-9]+)'", table)}
        assert not used - rows.keys(), (file.name, used - rows.keys())


@pytest.mark.parametrize("size", ["wide", "narrow"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_fits(operator, house, size, theme):
    operator.size(size)
    operator.choose("Colours", theme.capitalize())
    job = house.system.database.value("SELECT id FROM portal_jobs WHERE company_id = 20110 ORDER BY id LIMIT 1")
    for view, sign in [*VIEWS, (f"jobs/{job}", "Timeline"), (f"batches/{house.batch}", "12 done"), ("companies/20110", "Company 20110")]:
        operator.size(size).go(view).see("Refresh" if (size, view) == ("narrow", "jobs") else sign, within="main")  # a phone begins with the newest few
        over = operator.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, (view, over)
        tab = operator.js("const at = document.querySelector('.tabs [aria-current]')?.getBoundingClientRect(); return at && [at.left, at.right, innerWidth]")
        assert not tab or 0 <= tab[0] < tab[1] <= tab[2], (view, tab)
        faint = operator.js(CONTRAST)
        assert not faint, (view, faint)
        operator.picture(PICTURES / f"{view.partition('/')[0] + ('-one' if '/' in view else '') or 'overview'}-{size}-{theme}.png")


# WCAG 2: text against what is behind it, 4.5:1, or 3:1 when it is large.
CONTRAST = """
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const over = (a, b) => a.map((v, i) => i < 3 ? v * a[3] / 255 + b[i] * (1 - a[3] / 255) : 255);
    const behind = one => { let layers = []; for (let at = one; at; at = at.parentElement) { const c = rgba(getComputedStyle(at).backgroundColor); if (c[3]) layers.push(c); if (c[3] === 255) break; }
        return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 255]); };
    const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const faint = new Set();
    for (const one of document.querySelectorAll('body *')) {
        if (![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !one.checkVisibility() || one.closest('svg, .heard-only, .skip, #told, :disabled, .is-off, .is-stale')) continue;
        const style = getComputedStyle(one), under = behind(one), text = over(rgba(style.color), under);
        const [a, b] = [light(text), light(under)].sort((x, y) => y - x), size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        if ((a + .05) / (b + .05) < (isLarge ? 3 : 4.5)) faint.add(`${one.className} ${one.innerText.slice(0, 30)} ${((a + .05) / (b + .05)).toFixed(2)}`);
    }
    return [...faint].slice(0, 10);"""


def test_a_healthy_idle_system_looks_healthy(dashboard_of, make_system):
    page = dashboard_of(make_system()).see("live", within=".state")
    wait_until(lambda: page.all(".state.is-ok"), 10, f"it looks well: {page.text('.state')}")
    page.see("the broker started at", "nothing waits")
    page.picture(PICTURES / "idle-wide-light.png")
