"""Which words are right, how sure they were, and how late they came."""

import pytest

from nemotron_asr.evaluation.judging import judge
from nemotron_asr.evaluation.recognition import TimedWord
from nemotron_asr.evaluation.scoring import Counts
from tests.evaluation.conftest import recognition


def test_case_and_punctuation_are_no_errors() -> None:
    judged = judge(recognition("Neben Deutsch, auch Englisch.", "neben Deutsch spricht Englisch!"))
    assert judged.reference == ("neben", "deutsch", "auch", "englisch")
    assert judged.counts == Counts(hits=3, substitutions=1)


def test_every_word_of_the_transcript_is_right_or_not() -> None:
    words = (
        TimedWord("neben", 0.9, 1.0),
        TimedWord("dem", 0.4, 1.1),
        TimedWord("Deutsch,", 0.8, 1.2),
        TimedWord("-", 0.3, 1.3),
    )
    judged = judge(recognition("Neben Deutsch", "neben dem Deutsch, -", words=words))
    assert judged.confidences == ((0.9, True), (0.4, False), (0.8, True), (0.3, False))


def test_the_last_word_is_timed_from_the_end_of_speech() -> None:
    assert judge(recognition("ein Haus", "ein Haus", ends=(0.7,))).delays == pytest.approx((0.3,))
    assert judge(recognition("ein Haus am See", "ein Haus am Meer")).delays == ()
    assert judge(recognition("ein Haus am See", "See")).delays == pytest.approx((-1.0,))
    assert judge(recognition("ein Haus", "")).delays == ()


@pytest.mark.parametrize("mark", ["", " !", " [rire]", " ! -"])
def test_marks_behind_the_last_word_take_no_time(mark: str) -> None:
    assert judge(recognition(f"Bonjour toi{mark}", "Bonjour toi", locale="fr-FR", ends=(0.9,))).delays == pytest.approx(
        (0.1,)
    )


def test_all_words_are_timed_where_their_ends_are_known() -> None:
    judged = judge(recognition("ein Haus am See", "ein Haus beim See", ends=(0.3, 0.6, 1.0, 1.5)))
    assert judged.delays == pytest.approx((0.2, 0.4, 0.5))


def test_characters_are_judged_one_by_one() -> None:
    words = (TimedWord("十", 0.9, 0.5), TimedWord("二。", 0.6, 1.0))
    judged = judge(recognition("十一", "十二。", locale="zh-CN", words=words, ends=(0.9,)))
    assert judged.counts == Counts(hits=1, substitutions=1)
    assert judged.confidences == ((0.9, True), (0.6, False))
    assert judged.delays == ()


def test_a_word_that_is_normalised_to_several_is_right_as_a_whole() -> None:
    words = (TimedWord("I'm", 0.9, 0.5), TimedWord("fine", 0.6, 1.0))
    assert judge(recognition("I am fine", "I'm fine", locale="en-US", words=words)).confidences[0] == (0.9, True)
    assert judge(recognition("I was fine", "I'm fine", locale="en-US", words=words)).confidences[0] == (0.9, False)
