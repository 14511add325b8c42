"""The page in a real browser: what it shows are the words of the recording."""

import json
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.conftest import Sample
from tests.server.conftest import Running

LONG = 60
"""Seconds: machines that test are slow."""


def wait(browser: Chrome, condition: str) -> None:
    """Until a JavaScript expression is true."""
    WebDriverWait(browser, LONG).until(lambda _: browser.execute_script(f"return Boolean({condition})"), condition)


@pytest.fixture
def page(browser: Chrome, server: Running) -> Chrome:
    browser.get(server.http)
    wait(browser, "document.querySelectorAll('#language option').length > 10")
    return browser


def shown(page: Chrome) -> str:
    """All captions, without the marks of their languages."""
    words = "[...document.querySelectorAll('#captions p')].map(p => [...p.childNodes].filter(n => n.className !== "
    return str(page.execute_script(f"return {words}'language').map(n => n.textContent).join('')).join(' ')"))


def alike(one: str, other: str) -> float:
    """The share of characters that two texts have in common, in order."""
    return SequenceMatcher(None, one, other).ratio()


def open_file(page: Chrome, path: str) -> None:
    page.find_element(By.ID, "file").send_keys(path)
    wait(page, "document.getElementById('progress').value === 1")


def test_the_microphone_becomes_captions(page: Chrome, server: Running, samples: list[Sample]) -> None:
    """The browser resamples the microphone twice, so that a word may be heard differently now and then."""
    Select(page.find_element(By.ID, "language")).select_by_value("de-DE")
    page.find_element(By.ID, "speak").click()
    wait(page, "document.querySelector('#captions .final')")
    assert page.find_element(By.ID, "speak").get_attribute("aria-pressed") == "true"
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")
    expected = server.recognizer.transcribe(samples[0].path, language="de", latency_ms=320)
    assert alike(shown(page), expected.text) > 0.5
    assert not page.find_elements(By.CSS_SELECTOR, "#captions .partial")
    assert not page.find_element(By.ID, "problem").is_displayed()


def test_settings_take_effect_while_speaking(page: Chrome, server: Running) -> None:
    page.find_element(By.ID, "speak").click()
    wait(page, "document.querySelector('#captions .word')")
    slider = page.find_element(By.ID, "latency")
    slider.send_keys(Keys.END)
    assert page.find_element(By.ID, "latency-shown").text == "1120 ms"
    boost = page.find_element(By.ID, "boost")
    boost.send_keys("Nemotron, Ada:2" + Keys.TAB)
    (conversation,) = server.service.conversations
    wait(page, "document.querySelector('#captions .final')")
    assert not page.find_element(By.ID, "problem").is_displayed()
    assert conversation in server.service.conversations
    lanes = server.service.models.find(None).engine.statistics
    assert lanes.streams == 1
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")


def test_a_file_becomes_a_transcript(page: Chrome, server: Running, samples: list[Sample], tmp_path: Path) -> None:
    open_file(page, samples[1].path)
    expected = server.recognizer.transcribe(samples[1].path)
    assert shown(page) == expected.text
    assert page.find_element(By.ID, "player").is_displayed()
    for form in ("txt", "json", "srt", "vtt"):
        page.find_element(By.CSS_SELECTOR, f"[data-download={form}]").click()
        wait(page, f"document.getElementById('done').textContent === 'Saved as {form}'")
    name = Path(samples[1].path).stem
    WebDriverWait(page, LONG).until(lambda _: len(list(tmp_path.glob(f"{name}.*[tn]"))) == 4)
    assert (tmp_path / f"{name}.txt").read_text(encoding="utf-8") == expected.text
    kept = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    expected = replace(expected, duration=kept["duration"])  # the browser counts a few milliseconds more
    assert (tmp_path / f"{name}.srt").read_text(encoding="utf-8") == expected.to_srt()
    assert (tmp_path / f"{name}.vtt").read_text(encoding="utf-8") == expected.to_vtt()
    assert kept["text"] == expected.text
    assert kept["language"] == expected.language
    assert len(kept["segments"][0]["words"]) == len(expected.words)


def test_words_light_up_as_they_are_played(page: Chrome, samples: list[Sample]) -> None:
    open_file(page, samples[0].path)
    words = page.find_elements(By.CSS_SELECTOR, "#captions .said")
    words[1].click()
    wait(page, "document.querySelector('#captions .playing')")
    start = float(words[1].get_attribute("data-start") or 0)
    assert page.execute_script("return document.getElementById('audio').currentTime") >= start


def test_what_is_no_audio_is_said(page: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a recording " * 100)
    page.find_element(By.ID, "file").send_keys(str(path))
    wait(page, "!document.getElementById('problem').hidden")
    assert page.find_element(By.ID, "problem").text


def test_by_keyboard_alone(page: Chrome) -> None:
    """Tab reaches every control, in the order of the page, and each says what it is."""
    names = []
    ActionChains(page).send_keys(Keys.TAB).perform()
    for _ in range(16):
        active = page.switch_to.active_element
        names.append(active.accessible_name)
        ActionChains(page).send_keys(Keys.TAB).perform()
    wanted = ["What was said", "Speak", "Open a file", "Copy", "Text", "SRT", "VTT", "JSON", "Clear"]
    assert [name for name in names if name in wanted][: len(wanted)] == wanted
    assert all(names[:11]), " | ".join(names)


def test_the_server_shows_its_state(page: Chrome) -> None:
    wait(page, "/live · room for .* late chunks/.test(document.getElementById('state').textContent)")


@pytest.mark.parametrize("size", [(1100, 800), (390, 844)], ids=["desk", "phone"])
def test_nothing_lies_outside_the_window(page: Chrome, samples: list[Sample], size: tuple[int, int]) -> None:
    page.set_window_size(*size)
    open_file(page, samples[0].path)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
