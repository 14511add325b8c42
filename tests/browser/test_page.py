"""The page in a real browser: what it shows are the words of the recording."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from nemotron_asr.engine import Session
from nemotron_asr.languages import LANGUAGES
from tests.browser.conftest import LONG, open_file, said, wait
from tests.conftest import Sample
from tests.server.conftest import Running


def shown(page: Chrome) -> str:
    """All captions, without the marks of their languages."""
    return " ".join(said(page))


def alike(one: str, other: str) -> float:
    """The share of characters that two texts have in common, in order."""
    return SequenceMatcher(None, one, other).ratio()


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


def test_stop_while_the_browser_asks_for_the_microphone(page: Chrome, server: Running) -> None:
    page.execute_script("""
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        await new Promise((resolve) => { window.allow = resolve; });
        window.given = await ask(wanted);
        return window.given;
      };
    """)
    for pressed in ("true", "false"):
        page.find_element(By.ID, "speak").click()
        wait(page, f"document.getElementById('speak').getAttribute('aria-pressed') === '{pressed}'")
    page.execute_script("window.allow()")
    wait(page, "window.given && window.given.getTracks().every((track) => track.readyState === 'ended')")
    assert not server.service.conversations


def test_a_file_takes_the_place_of_speech(page: Chrome, server: Running, samples: list[Sample]) -> None:
    """Nothing that is still to be told of what was said gets into its transcript."""
    page.find_element(By.ID, "speak").click()
    wait(page, "document.querySelector('#captions .word')")
    open_file(page, samples[1].path)
    assert page.find_element(By.ID, "speak").get_attribute("aria-pressed") == "false"
    WebDriverWait(page, LONG).until(lambda _: not server.service.conversations)
    assert shown(page) == server.recognizer.transcribe(samples[1].path).text


def test_speech_ends_the_transcription_of_a_file(page: Chrome, samples: list[Sample]) -> None:
    page.execute_script("""
      const ask = window.fetch;
      window.fetch = (url, options) => { window.asked = options?.signal ?? window.asked; return ask(url, options); };
    """)
    open_file(page, samples[0].path)
    page.find_element(By.ID, "speak").click()
    wait(page, "window.asked.aborted")
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")


def test_what_is_cleared_does_not_come_back(page: Chrome) -> None:
    """Not even in the segment that was being spoken."""
    page.execute_script("""
      const observer = new MutationObserver(() => {
        const words = document.querySelectorAll("#captions .partial .word");
        if (words.length < 3) return;
        observer.disconnect();
        window.last = Number([...words].at(-1).dataset.start);
        document.getElementById("clear").click();
      });
      observer.observe(document.getElementById("captions"), { subtree: true, childList: true });
    """)
    page.find_element(By.ID, "speak").click()
    wait(page, "window.last && document.querySelector('#captions .word')")
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")
    starts = [word.get_attribute("data-start") for word in page.find_elements(By.CSS_SELECTOR, "#captions .word")]
    assert min(float(start or 0) for start in starts) > page.execute_script("return window.last")


def test_a_file_is_cleared(page: Chrome, samples: list[Sample]) -> None:
    page.execute_script("""
      const ask = window.fetch;
      window.fetch = async (url, options) => {
        const answer = await ask(url, options);
        if (!String(url).startsWith("/v1/stream")) return answer;
        window.signal = options.signal;
        const held = new TransformStream({ flush: () => new Promise(() => {}) });  // its end does not come
        return new Response(answer.body.pipeThrough(held));
      };
    """)
    page.find_element(By.ID, "file").send_keys(samples[1].path)
    wait(page, "document.querySelector('#captions .word')")
    page.find_element(By.ID, "clear").click()
    assert page.execute_script("return window.signal.aborted")
    assert not page.find_element(By.ID, "player").is_displayed()
    assert not said(page)


def test_settings_take_effect_while_speaking(page: Chrome, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = list[Any]()
    for name in ("set_language", "set_latency", "set_boost"):
        monkeypatch.setattr(Session, name, noting(changes, getattr(Session, name)))
    page.find_element(By.ID, "speak").click()
    wait(page, "document.querySelector('#captions .word')")
    page.find_element(By.ID, "latency").send_keys(Keys.END)
    assert page.find_element(By.ID, "latency-shown").text == "1120 ms"
    assert not page.find_element(By.ID, "model").is_enabled()  # a stream keeps its own
    page.find_element(By.ID, "boost").send_keys("Nemotron, Ada:2" + Keys.TAB)
    Select(page.find_element(By.ID, "language")).select_by_value("de-DE")
    (conversation,) = server.service.conversations
    wait(page, "document.querySelector('#captions .final')")
    assert not page.find_element(By.ID, "problem").is_displayed()
    assert conversation in server.service.conversations
    lanes = server.service.models.find(None).engine.statistics
    assert lanes.streams == 1
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")
    assert changes == [("set_latency", 1120), ("set_boost", ["Nemotron", "Ada:2"]), ("set_language", "de-DE")]


def noting(changes: list[Any], change: Callable[..., None]) -> Callable[..., None]:
    def changed(session: Session, value: Any, *others: Any) -> None:
        changes.append((change.__name__, value))
        change(session, value, *others)

    return changed


def test_every_language_can_be_chosen(page: Chrome) -> None:
    assert set(languages(page)) == {"auto", *(language.locale for language in LANGUAGES)}
    assert len(LANGUAGES) == 40


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
    lines = "\n".join(segment.text for segment in expected.segments)
    assert (tmp_path / f"{name}.txt").read_text(encoding="utf-8") == lines
    kept = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    expected = replace(expected, duration=kept["duration"])  # the browser counts a few milliseconds more
    assert (tmp_path / f"{name}.srt").read_text(encoding="utf-8") == expected.to_srt()
    assert (tmp_path / f"{name}.vtt").read_text(encoding="utf-8") == expected.to_vtt()
    assert kept["text"] == expected.text
    assert kept["language"] == expected.language
    assert sum(len(segment["words"]) for segment in kept["segments"]) == len(expected.words)


def test_a_file_is_dropped_drawn_and_copied(page: Chrome, server: Running, samples: list[Sample]) -> None:
    """As a person drops it: the event brings the file."""
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    drop(page, Path(samples[0].path))
    wait(page, "document.getElementById('progress').value === 1")
    expected = server.recognizer.transcribe(samples[0].path)
    assert shown(page) == expected.text
    assert page.find_element(By.ID, "detected").text == languages(page)[str(expected.language)]
    wait(page, f"({TALLEST})() > document.getElementById('waveform').height / 2")
    page.find_element(By.CSS_SELECTOR, "[data-download=copy]").click()
    wait(page, "document.getElementById('done').textContent === 'Copied'")
    copied = page.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == "\n".join(segment.text for segment in expected.segments)
    assert page.find_element(By.ID, "done").is_displayed()


def test_copies_without_a_clipboard(page: Chrome, samples: list[Sample]) -> None:
    """Browsers have none over http."""
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    page.execute_script("""
      window.board = navigator.clipboard;
      Object.defineProperty(navigator, "clipboard", { value: undefined });
    """)
    drop(page, Path(samples[0].path), Path(samples[1].path))
    wait(page, "document.getElementById('progress').value === 1")
    assert page.find_element(By.ID, "problem").text == f"One file at a time: this is {Path(samples[0].path).name}."
    page.find_element(By.CSS_SELECTOR, "[data-download=copy]").click()
    wait(page, "document.getElementById('done').textContent === 'Copied'")
    copied = page.execute_async_script("window.board.readText().then(arguments[0])")
    assert copied.split("\n") == said(page)


TALLEST = """() => {
  const { width, height } = document.getElementById('waveform');
  const pixels = document.getElementById('waveform').getContext('2d').getImageData(0, 0, width, height).data;
  const rows = Array.from({ length: width }, () => 0);
  for (let i = 0; i < width * height; i++) rows[i % width] += pixels[4 * i + 3] > 0;
  return Math.max(...rows);
}"""
"""Pixels of the tallest bar of the waveform."""


def drop(page: Chrome, *paths: Path) -> None:
    script = """
      const dataTransfer = new DataTransfer();
      for (const [data, name] of arguments[0])
        dataTransfer.items.add(new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    """
    page.execute_script(script, [(base64.b64encode(path.read_bytes()).decode(), path.name) for path in paths])


def languages(page: Chrome) -> dict[str, str]:
    """The names of the languages to choose from."""
    options = page.find_elements(By.CSS_SELECTOR, "#language option")
    return {str(option.get_attribute("value")): option.text for option in options}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(page: Chrome, samples: list[Sample], scheme: str) -> None:
    """WCAG 2.2, 1.4.3: text stands out from what is behind it at least 4.5 to 1."""
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    open_file(page, samples[0].path)
    page.execute_script("document.getAnimations().forEach((each) => each.finish())")
    pairs = page.execute_script("""
      const ground = (of) => {
        const colour = getComputedStyle(of).backgroundColor;
        return /, 0\\)$/.test(colour) && of.parentElement ? ground(of.parentElement) : colour;
      };
      const texts = [...document.querySelectorAll("body *")].filter((of) =>
        of.checkVisibility() && [...of.childNodes].some((one) => one.nodeType === 3 && one.data.trim()));
      return texts.map((of) => [of.outerHTML.slice(0, 60), getComputedStyle(of).color, ground(of)]);
    """)
    assert len(pairs) > 15
    grounds = {luminance(ground) for _, _, ground in pairs}
    assert max(grounds) > 0.8 if scheme == "light" else min(grounds) < 0.05
    dim = [pair for pair in pairs if contrast(pair[1], pair[2]) < 4.5]
    assert not dim


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it, of `rgb(r, g, b)`."""
    shares = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


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


def test_a_screen_reader_reads_what_has_settled(page: Chrome) -> None:
    """Words that still grow are marked as busy in a region that is read when it changes."""
    captions = page.find_element(By.ID, "captions")
    assert (captions.aria_role, captions.get_attribute("aria-live")) == ("log", "polite")
    page.find_element(By.ID, "speak").click()
    wait(page, "document.querySelector('#captions .partial[aria-busy=true] .word')")
    wait(page, "document.querySelector('#captions .final[aria-busy=false]')")
    page.find_element(By.ID, "speak").click()
    wait(page, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")
    assert not page.find_elements(By.CSS_SELECTOR, "#captions [aria-busy=true]")


def test_the_server_shows_its_state(page: Chrome) -> None:
    wait(page, "/live · room for .* late chunks/.test(document.getElementById('state').textContent)")


@pytest.mark.parametrize("size", [(1100, 800), (390, 844)], ids=["desk", "phone"])
def test_nothing_lies_outside_the_window(page: Chrome, samples: list[Sample], size: tuple[int, int]) -> None:
    page.set_window_size(*size)
    open_file(page, samples[0].path)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
