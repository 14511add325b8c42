"""A real browser, headless, whose microphone plays a recording."""

import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import Sample
from tests.server.conftest import Running, running

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

LONG = 60
"""Seconds: machines that test are slow."""


def wait(browser: webdriver.Chrome, condition: str) -> None:
    """Until a JavaScript expression is true."""
    WebDriverWait(browser, LONG).until(lambda _: browser.execute_script(f"return Boolean({condition})"), condition)


def open_file(page: webdriver.Chrome, path: str) -> None:
    """As a person does, until it is transcribed."""
    page.find_element(By.ID, "file").send_keys(path)
    wait(page, "document.getElementById('progress').value === 1")


def said(page: webdriver.Chrome) -> list[str]:
    """The captions, a text for each segment, without the marks of their languages."""
    words = "[...document.querySelectorAll('#captions p')].map(p => [...p.childNodes].filter(n => n.className !== "
    return list(page.execute_script(f"return {words}'language').map(n => n.textContent).join(''))"))


def save(page: webdriver.Chrome, form: str, downloads: Path) -> str:
    """The transcript as it is saved in a form."""
    page.find_element(By.CSS_SELECTOR, f"[data-download={form}]").click()
    wait(page, f"document.getElementById('done').textContent === 'Saved as {form}'")
    WebDriverWait(page, LONG).until(lambda _: list(downloads.glob(f"*.{form}")))
    (path,) = downloads.glob(f"*.{form}")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with running(max_streams=8) as server:
        yield server


@pytest.fixture(scope="session")
def spoken(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: a second of nothing, a sentence, and nothing more."""
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    silence = np.zeros(16_000, np.float32)
    heard = np.concatenate([silence, samples[0].audio, np.tile(silence, 20)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((heard * 32767).astype("<i2").tobytes())
    return path


@contextmanager
def chromium(spoken: Path, downloads: Path, **experimental: Any) -> Iterator[webdriver.Chrome]:
    """A browser in whose console nothing may be complained of."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1100,900",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}%noloop", "--autoplay-policy=no-user-gesture-required",
    ):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    for name, value in experimental.items():
        options.add_experimental_option(name, value)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, Driver(DRIVER))
    browser.set_page_load_timeout(60)
    yield browser
    logged = [entry for entry in browser.execute("getLog", {"type": "browser"})["value"] if entry["level"] == "SEVERE"]
    errors = [entry for entry in logged if entry["source"] != "network"]  # refusals are shown on the page
    browser.quit()
    assert not errors


@pytest.fixture
def browser(spoken: Path, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(spoken, tmp_path) as browser:
        yield browser


@pytest.fixture
def page(browser: webdriver.Chrome, server: Running) -> webdriver.Chrome:
    """The page, which knows what there is to choose from."""
    return shown_page(browser, server)


def shown_page(browser: webdriver.Chrome, server: Running) -> webdriver.Chrome:
    browser.get(server.http)
    wait(browser, "document.querySelectorAll('#language option').length > 10")
    return browser
