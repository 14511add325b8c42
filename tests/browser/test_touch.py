"""The page on a phone, whose screen is touched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser.conftest import chromium, open_file, shown_page, wait
from tests.conftest import Sample
from tests.server.conftest import Running

PHONE = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 3.0, "touch": True, "mobile": True}}


@pytest.fixture
def phone(spoken: Path, tmp_path: Path, server: Running) -> Iterator[Chrome]:
    with chromium(spoken, tmp_path, mobileEmulation=PHONE) as browser:
        yield shown_page(browser, server)


def touch(page: Chrome, name: str, right: float = 0.5) -> None:
    """Tap on an element, so far to the right in it."""
    element = page.find_element(By.CSS_SELECTOR, name)
    x, y, width, height = page.execute_script(PLACE, element)
    place = {"x": x + right * width, "y": y + height / 2}
    page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


PLACE = """
  arguments[0].scrollIntoView({ block: "center" });
  const { x, y, width, height } = arguments[0].getBoundingClientRect();
  return [x, y, width, height];
"""


def test_it_is_a_phone(phone: Chrome) -> None:
    assert phone.execute_script("return navigator.maxTouchPoints > 0 && matchMedia('(pointer: coarse)').matches")
    small = phone.execute_script("""
      const touched = [...document.querySelectorAll("button, .button, select, input:not(.hidden-input)")];
      return touched.filter((of) => of.checkVisibility() && of.offsetHeight < 24).map((of) => of.outerHTML);
    """)
    assert not small  # WCAG 2.2, 2.5.8: at least 24 pixels


def test_speaking_is_begun_and_ended(phone: Chrome) -> None:
    touch(phone, "#speak")
    wait(phone, "document.querySelector('#captions .final')")
    assert phone.find_element(By.ID, "speak").get_attribute("aria-pressed") == "true"
    touch(phone, "#speak")
    wait(phone, "document.getElementById('speak').getAttribute('aria-pressed') === 'false'")
    assert not phone.find_element(By.ID, "problem").is_displayed()


def test_latency_is_chosen(phone: Chrome) -> None:
    touch(phone, "#latency", right=0.98)
    assert phone.find_element(By.ID, "latency-shown").text == "1120 ms"
    touch(phone, "#latency", right=0.02)
    assert phone.find_element(By.ID, "latency-shown").text == "80 ms"


def test_a_file_is_chosen_and_its_words_are_touched(phone: Chrome, samples: list[Sample]) -> None:
    """Nothing can be dropped on a phone; the browser's own dialogue, which no test can use, is only asked for."""
    phone.execute_script("""
      document.getElementById("file").addEventListener("click", (event) => {
        event.preventDefault();
        window.asked = event.isTrusted;
      }, { once: true });
    """)
    touch(phone, "label[for=file]")
    wait(phone, "window.asked")
    open_file(phone, samples[0].path)
    touch(phone, "#captions .said:nth-of-type(2)")
    wait(phone, "document.querySelector('#captions .playing')")
    start = float(phone.find_elements(By.CSS_SELECTOR, "#captions .said")[1].get_attribute("data-start") or 0)
    assert phone.execute_script("return document.getElementById('audio').currentTime") >= start
    assert phone.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
