"""What the page says and keeps when something goes wrong while somebody speaks."""

from asyncio import BaseTransport
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from nemotron_asr.server.connections import Impatient, WebSockets
from tests.browser.conftest import said, save, shown_page, wait
from tests.server.conftest import Running, running

STOPPED = "document.getElementById('speak').getAttribute('aria-pressed') === 'false'"
SAID = "document.querySelectorAll('#captions .word').length > 2"


def problem(page: Chrome) -> str:
    """What the page complains of when it has stopped."""
    wait(page, f"{STOPPED} && !document.getElementById('problem').hidden")
    return page.find_element(By.ID, "problem").text


def test_a_lost_connection_loses_no_words(
    page: Chrome, server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports = list[BaseTransport]()

    def connected(socket: WebSockets, transport: BaseTransport) -> None:
        transports.append(transport)
        Impatient.connection_made(socket, transport)

    monkeypatch.setattr(WebSockets, "connection_made", connected)
    page.find_element(By.ID, "speak").click()
    wait(page, SAID)
    server.loop.call_soon_threadsafe(transports[0].abort)  # type: ignore[attr-defined]
    assert problem(page) == "The connection was lost."
    assert not page.find_elements(By.CSS_SELECTOR, "#captions .partial")
    kept = said(page)
    page.find_element(By.ID, "speak").click()
    wait(page, f"document.querySelectorAll('#captions p').length > {len(kept)}")
    page.find_element(By.ID, "speak").click()
    wait(page, STOPPED)
    assert said(page)[: len(kept)] == kept
    assert save(page, "txt", tmp_path).split("\n")[: len(kept)] == kept


HANGING = """
  window.WebSocket = class {
    static OPEN = 1;
    readyState = 1;
    constructor() { window.left = false; }
    send() {}
    close() { window.left = true; }
  };
"""
"""A server that takes every stream, and says nothing."""


def test_a_server_that_hangs(page: Chrome) -> None:
    """It is waited for after Stop, and not after a second one."""
    page.execute_script(HANGING)
    for presses in (1, 2):
        page.find_element(By.ID, "speak").click()
        wait(page, "window.left === false")
        assert not page.execute_script("return dispatchEvent(new Event('beforeunload', { cancelable: true }))")
        for _ in range(presses):
            page.find_element(By.ID, "speak").click()
        assert problem(page) == "The server does not answer."
        assert page.execute_script("return window.left")


def test_why_a_stream_is_refused(page: Chrome) -> None:
    page.find_element(By.ID, "boost").send_keys("Ada:1000" + Keys.TAB)
    page.find_element(By.ID, "speak").click()
    assert "1000" in problem(page)


def test_a_server_that_is_full(browser: Chrome) -> None:
    with running(max_streams=1) as server:
        page = shown_page(browser, server)
        with server.service.models.find(None).engine.open():
            page.find_element(By.ID, "speak").click()
            assert "full" in problem(page)


def test_a_microphone_that_is_unplugged(page: Chrome) -> None:
    page.execute_script("""
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => (window.given = await ask(wanted));
    """)
    page.find_element(By.ID, "speak").click()
    wait(page, SAID)
    page.execute_script("window.given.getTracks()[0].dispatchEvent(new Event('ended'))")
    assert problem(page) == "The microphone is gone."
    assert said(page)
    assert not page.find_elements(By.CSS_SELECTOR, "#captions .partial")
