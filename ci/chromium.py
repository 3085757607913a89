"""Chromium without a window, for tests and pictures; Playwright drives it."""

import shutil

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""None: Playwright takes its own, if it has one."""

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def launch(playwright):
    """A browser, to be closed."""
    return playwright.chromium.launch(executable_path=PATH, args=ARGUMENTS)
