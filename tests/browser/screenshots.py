"""Pictures of the page for the documentation.

python -m tests.browser.screenshots docs/images
"""

import sys
from importlib.resources import files
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By

from tests.browser.conftest import CHROMIUM, DRIVER, open_file, wait
from tests.server.conftest import running


def take(folder: Path, recording: str) -> None:
    """The page with a transcript, by day on a desk and by night on a phone."""
    with running(max_streams=8) as server:
        for theme, size in {"light": (1100, 1000), "dark": (420, 1000)}.items():
            options = ChromeOptions()
            options.binary_location = CHROMIUM
            for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
                options.add_argument(argument)
            options.add_argument(f"--window-size={size[0]},{size[1]}")
            browser = Chrome(options, Driver(DRIVER))
            scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
            browser.get(server.http)
            wait(browser, "document.querySelectorAll('#language option').length > 10")
            open_file(browser, recording)
            browser.find_elements(By.CSS_SELECTOR, "#captions .said")[1].click()
            wait(browser, "document.querySelector('#captions .playing')")
            browser.execute_script("document.getElementById('audio').pause()")
            wait(browser, "document.getElementById('state').textContent")
            browser.save_screenshot(str(folder / f"page-{theme}.png"))
            browser.quit()


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    destination.mkdir(parents=True, exist_ok=True)
    take(destination, str(files("nemotron_asr") / "samples" / "de-DE.opus"))
