# SPDX-License-Identifier: MIT
"""The dashboard in Debian's Chromium: looked at and used as people do, by words and labels.

Owns one browser. What is waited for is waited for with a limit; an error on the browser's console or a refused script is a
failure of the test that caused it (complaints()).
"""

import os
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from harness.wait import wait_until

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-US",
]  # fmt: skip
PICTURES = Path(os.environ.get("CHASQUI_PICTURES", Path(__file__).resolve().parents[2] / "build" / "pictures"))
SIZES = {"wide": (1400, 900), "narrow": (400, 850)}


def start_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tempfile.TemporaryDirectory(prefix="chasqui-browser-")
    for flag in [*FLAGS, f"--user-data-dir={profile.name}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.profile = profile
    return driver


class Dashboard:
    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    # --- going there -------------------------------------------------------------------------------------------

    def forget(self):
        """As somebody who was never here: no cookie, no choices."""
        self.driver.get(self.url + "/dashboard/icon.svg")
        self.driver.delete_all_cookies()
        self.js("localStorage.clear()")
        self.complaints()
        return self

    def open(self, view=""):
        """A view, loaded anew."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#/{view}")
        return self

    def go(self, view=""):
        """A view, as a link of the page goes to it."""
        self.js("location.hash = arguments[0]", f"#/{view}")
        return self

    def log_in(self, token):
        self.see("Show an operator") if self.js("return document.documentElement.lang") == "en" else None
        self.field("Token").send_keys(token)
        self.press("Log in")
        return self.see("Overview")

    def size(self, name):
        width, height = SIZES[name]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": name == "narrow"})
        return self

    # --- looking -----------------------------------------------------------------------------------------------

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector="body"):
        return self.js("return document.querySelector(arguments[0])?.innerText || ''", selector)

    def see(self, *words, within="body", timeout=10):
        """Waits until all of the words are shown."""
        last = [""]

        def shown():
            last[0] = self.text(within)
            return all(word in last[0] for word in words)

        try:
            wait_until(shown, timeout, f"{words} are shown", every=0.05)
        except Exception as why:
            raise AssertionError(f"{why}\n--- {within} shows\n{last[0][:3000]}") from None
        return self

    def see_no(self, *words, within="body", timeout=10):
        wait_until(lambda: not any(word in self.text(within) for word in words), timeout, f"{words} are gone", every=0.05)
        return self

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def rows(self, selector="tbody tr"):
        return self.js("return [...document.querySelectorAll(arguments[0])].map(row => row.innerText)", selector)

    def complaints(self):
        """What the browser's console said since the last look, without what a dead broker makes it say."""
        said = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [line for line in said if "Failed to load resource" not in line and "ERR_" not in line]

    # --- doing -------------------------------------------------------------------------------------------------

    def named(self, name, within, tags="button, a, summary"):
        script = """const [root, tags, name] = arguments; const at = document.querySelector(root);
            return at && [...at.querySelectorAll(tags)].find(one => one.checkVisibility() && !one.disabled && [one.getAttribute('aria-label'), one.innerText.trim()].includes(name))"""
        return self.js(script, within, tags, name)

    def find(self, name, within="body", tags="button, a, summary", timeout=10):
        """A thing to press, by the name that somebody hears."""
        return wait_until(lambda: self.named(name, within, tags), timeout, f"something named {name!r} can be pressed in {within}", every=0.05)

    def gone(self, name, within="body", timeout=10):
        wait_until(lambda: not self.named(name, within), timeout, f"nothing named {name!r} can be pressed in {within}", every=0.05)
        return self

    def press(self, name, within="body", timeout=10):
        """The page may be drawn anew between the finding and the click: then it is found again."""

        def pressed():
            try:
                self.find(name, within, timeout=timeout).click()
                return True
            except (StaleElementReferenceException, ElementNotInteractableException, ElementClickInterceptedException) as why:
                raise AssertionError(str(why)) from None

        wait_until(pressed, timeout, f"{name!r} is pressed", every=0.05)
        return self

    def field(self, label):
        script = """return [...document.querySelectorAll('label')].filter(one => one.checkVisibility() && [one.innerText.trim(), one.querySelector('span')?.innerText.trim()].includes(arguments[0]))
            .map(one => document.getElementById(one.htmlFor)).find(Boolean)"""
        return wait_until(lambda: self.js(script, label), 10, f"a field {label!r}", every=0.05)

    def field_of(self, id):
        """A field that has no label that is seen."""
        return wait_until(lambda: self.js("return document.getElementById(arguments[0])", id), 10, f"a field {id!r}", every=0.05)

    def choose(self, label, option):
        self.js("arguments[0].value = [...arguments[0].options].find(o => o.text === arguments[1]).value; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
                self.field(label), option)  # fmt: skip
        return self

    def confirm(self, name, reason=None, **choices):
        """Answers the open dialog."""
        if reason:
            self.field("Reason (for the audit trail)").send_keys(reason)
        for label, option in choices.items():
            self.choose(label, option)
        self.press(name, "dialog")
        return self

    def key(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        return self

    def tab(self, times=1):
        return self.key(*[Keys.TAB] * times)

    def focused(self):
        """What has the focus: its name, and how it is shown."""
        return self.js("""const one = document.activeElement, style = getComputedStyle(one);
            return {tag: one.tagName, name: one.getAttribute('aria-label') || one.innerText?.trim() || one.name || '', outline: style.outlineStyle, width: parseFloat(style.outlineWidth),
                    inside: one.closest('dialog, header, main, nav')?.tagName}""")

    def picture(self, path, whole=True):
        """A screenshot; the whole page, up to 4000 points."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        width = self.js("return innerWidth")
        height = min(4000, self.js("return document.documentElement.scrollHeight")) if whole else SIZES["wide"][1]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        time.sleep(0.15)  # one frame of the new size
        self.driver.save_screenshot(str(path))
        return self
