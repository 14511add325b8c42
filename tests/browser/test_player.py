"""The player of the page: a recording is heard, and its words light up, among the captions and on the waveform."""

from pathlib import Path

import av
import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.conftest import open_file, save, wait
from tests.conftest import Sample


def test_words_light_up_as_they_are_played(page: Chrome, samples: list[Sample]) -> None:
    open_file(page, samples[0].path)
    words = page.find_elements(By.CSS_SELECTOR, "#captions .said")
    words[1].click()
    wait(page, "document.querySelector('#captions .playing')")
    start = float(words[1].get_attribute("data-start") or 0)
    assert page.execute_script("return document.getElementById('audio').currentTime") >= start


def test_words_are_reached_and_played_by_keyboard(page: Chrome, samples: list[Sample]) -> None:
    """Tab comes to one of them and leaves them again; arrows go from word to word; each says when it was said."""
    open_file(page, samples[0].path)
    words = page.find_elements(By.CSS_SELECTOR, "#captions .said")
    page.find_element(By.ID, "captions").send_keys(Keys.TAB)
    assert page.switch_to.active_element == words[0]
    for key, word in ((Keys.RIGHT, words[1]), (Keys.END, words[-1]), (Keys.HOME, words[0]), (Keys.LEFT, words[0]),
                      (Keys.RIGHT, words[1]), (Keys.RIGHT, words[2]), (Keys.LEFT, words[1])):  # fmt: skip
        page.switch_to.active_element.send_keys(key)
        assert page.switch_to.active_element == word
    start = float(words[1].get_attribute("data-start") or 0)
    assert words[1].accessible_name == f"{words[1].text}, at {start:.1f} seconds"
    words[1].send_keys(Keys.ENTER)
    wait(page, "document.querySelector('#captions .playing')")
    assert page.execute_script("return document.getElementById('audio').currentTime") >= start
    words[1].send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "audio"
    page.find_element(By.ID, "captions").send_keys(Keys.TAB)
    assert page.switch_to.active_element == words[1]


ARABIC = """
    const done = arguments[0];
    import("/page/captions.js").then(({ Captions }) => {
      const words = ["مرحبا", "بكم"].map((word, i) => ({ word, start: i, end: i + 1, confidence: 1 }));
      const captions = new Captions(document.getElementById("captions"), () => {});
      captions.show({ type: "final", start: 0, end: 2, text: "مرحبا بكم", language: "ar-AR", confidence: 1, words });
      done();
    });
"""


def test_words_are_reached_on_the_side_where_they_are(page: Chrome) -> None:
    page.execute_async_script(ARABIC)
    first, second = page.find_elements(By.CSS_SELECTOR, "#captions .said")
    assert second.rect["x"] < first.rect["x"]
    first.send_keys(Keys.LEFT)
    assert page.switch_to.active_element == second
    second.send_keys(Keys.RIGHT)
    assert page.switch_to.active_element == first


LIT = """
  const canvas = document.getElementById("waveform");
  const { width, height } = canvas;
  const top = canvas.getContext("2d").getImageData(0, 0, width, 1).data;
  const lit = Array.from({ length: width }, (_, x) => x).filter((x) => top[4 * x + 3] > 128);
  const { duration } = document.getElementById("audio");
  return lit.length ? [lit[0] * duration / width, (lit.at(-1) + 1) * duration / width] : null;
"""
"""The stretch of the waveform that is lit up, in seconds of the recording."""


def test_words_light_up_on_the_waveform(page: Chrome, samples: list[Sample]) -> None:
    open_file(page, samples[0].path)
    assert page.execute_script(LIT) is None
    for word in page.find_elements(By.CSS_SELECTOR, "#captions .said")[1:4]:
        start, end = (float(word.get_attribute(f"data-{side}") or 0) for side in ("start", "end"))
        page.execute_script("document.getElementById('audio').currentTime = arguments[0]", (start + end) / 2)
        wait(
            page,
            f"document.querySelector('#captions .playing')?.dataset.start === '{word.get_attribute('data-start')}'",
        )
        assert page.execute_script(LIT) == pytest.approx([start, end], abs=0.02)


FRAMES = """
  window.frames_asked = new Set();
  const [ask, drop] = [window.requestAnimationFrame, window.cancelAnimationFrame];
  window.requestAnimationFrame = (call) => {
    const frame = ask((time) => { frames_asked.delete(frame); call(time); });
    frames_asked.add(frame);
    return frame;
  };
  window.cancelAnimationFrame = (frame) => { frames_asked.delete(frame); drop(frame); };
"""


def test_seeking_asks_for_no_more_frames(page: Chrome, samples: list[Sample]) -> None:
    open_file(page, samples[0].path)
    page.execute_script(FRAMES)
    page.execute_async_script("document.getElementById('audio').play().then(arguments[0])")
    for time in (0.5, 0.1, 0.4, 0.2):
        page.execute_async_script("""
          const [time, done] = arguments;
          document.getElementById("audio").addEventListener("seeked", () => done(), { once: true });
          document.getElementById("audio").currentTime = time;
        """, time)  # fmt: skip
    assert page.execute_script("return frames_asked.size") <= 1


def test_the_window_stays_where_the_reader_has_it(page: Chrome, samples: list[Sample]) -> None:
    """The captions alone follow what is played."""
    page.set_window_size(500, 400)
    open_file(page, samples[0].path)
    page.execute_script("""
      document.querySelector(".stage").style.height = "6rem";
      document.getElementById("captions").scrollTop = 0;
      scrollTo(0, 10000);
    """)
    before = page.execute_script("return scrollY")
    assert before > 0
    last = page.find_elements(By.CSS_SELECTOR, "#captions .said")[-1]
    page.execute_script("document.getElementById('audio').currentTime = Number(arguments[0].dataset.start)", last)
    wait(page, "document.querySelector('#captions .playing')")
    seen = page.execute_script("""
      const [word, box] = [arguments[0], document.getElementById("captions")].map((of) => of.getBoundingClientRect());
      return word.top >= box.top - 1 && word.bottom <= box.bottom + 1;
    """, last)  # fmt: skip
    assert seen
    assert page.execute_script("return document.getElementById('captions').scrollTop") > 0
    assert page.execute_script("return scrollY") == before


def test_subtitles_of_what_a_browser_recorded(page: Chrome, samples: list[Sample], tmp_path: Path) -> None:
    """Its WebM does not say how long it is."""
    open_file(page, webm(samples[0].path, tmp_path))
    wait(page, "document.getElementById('audio').duration === Infinity")
    assert "-->" in save(page, "srt", tmp_path)
    said = page.execute_async_script("""
      const done = (error) => arguments[0](error.message);
      import("/page/downloads.js").then(({ download }) => download({}, "srt", "none", {})).catch(done);
    """)
    assert "is not a transcript" in said


WAVEFORMS = """
  const done = arguments[0];
  const decoded = [];
  OfflineAudioContext.prototype.decodeAudioData = async ({ name, shape, ready }) => {
    decoded.push(name);
    await ready;
    return { getChannelData: () => Float32Array.from({ length: 400 }, shape) };
  };
  const file = (name, shape, ready) => ({ size: 1, arrayBuffer: async () => ({ name, shape, ready }) });
  const audio = (duration) => ({ duration, set onloadedmetadata(call) { call(); }, set onerror(_) {} });
  import("/page/waveform.js").then(async ({ Waveform }) => {
    const waveform = new Waveform(document.createElement("canvas"), () => {});
    await waveform.load(file("hours", () => 1), audio(3 * 3600));
    let proceed;
    const slow = waveform.load(file("slow", () => 1, new Promise((resolve) => (proceed = resolve))), audio(1));
    while (!decoded.length) await new Promise((resolve) => setTimeout(resolve));
    await waveform.load(file("quick", (_, i) => i / 399), audio(1));
    proceed();
    await slow;
    done([decoded, waveform.peaks]);
  });
"""
"""What is decoded of three recordings that are opened one after the other, and what is drawn at last."""


def test_the_waveform_is_of_the_last_file_and_of_no_long_one(page: Chrome) -> None:
    decoded, peaks = page.execute_async_script(WAVEFORMS)
    assert decoded == ["slow", "quick"]
    assert peaks == pytest.approx([i / 399 for i in range(400)])


def webm(path: str, folder: Path) -> str:
    """A recording, written as it comes: its length was not known when its head was."""
    made = str(folder / "recorded.webm")
    with av.open(path) as source, av.open(made, "w", format="webm", options={"live": "1"}) as sink:
        stream = sink.add_stream("libopus", rate=48_000)
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return made
