"""A console as a user starts it, and a headless browser in front of it."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ENV_ID = "DexHiL-PlushSim-v0"


def need_browser():
    """Skip with a reason where there is no browser to drive."""
    pytest.importorskip("websockets", reason="the console needs the extra dexhil[teleop]")
    pytest.importorskip("playwright", reason="the page is driven with Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")


class Console:
    """A process ``dexhil console``."""

    def __init__(self, out, *options):
        command = [
            sys.executable,
            "-c",
            "from agents.cli import main; main()",
            "console",
            "--env",
            ENV_ID,
            "--port",
            "0",
            "--image-size",
            "32",
            "--out",
            str(out),
        ]
        words = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*command, *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=words
        )
        self.lines = []
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.wait_for(r"http://\S+")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def wait_for(self, pattern, seconds=60.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, "".join(self.lines))
            if found:
                return found.group(0)
            assert self.process.poll() is None or found, "".join(self.lines)
            time.sleep(0.05)
        raise AssertionError(f"{pattern} did not come: {''.join(self.lines)}")

    def finish(self, seconds=60.0):
        self.process.wait(seconds)
        return "".join(self.lines)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def browser(*arguments, **context):
    """A page of a headless Chromium; the page's content security policy holds."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(arguments))
        place = chromium.new_context(viewport={"width": 1366, "height": 768}, **context)
        page = place.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        chromium.close()


def until(page, condition, seconds=30.0):
    """Wait for a condition in the page's words."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.evaluate("state"), page.errors)
        time.sleep(0.02)


def mode(page, name, seconds=30.0):
    """Wait for a mode."""
    until(page, f"state.mode === '{name}'", seconds)


def begin(page):
    """Let the policy begin in a scene that is laid."""
    mode(page, "READY")
    page.keyboard.press("Enter")
    mode(page, "AUTO")


def watch(page, console, *scripts):
    """Open the console's page, with scripts that run before its own, and let the policy begin."""
    for script in scripts:
        page.add_init_script(script)
    page.goto(console.url)
    begin(page)
