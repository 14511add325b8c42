"""How well a model hears: error rates, delays, confidence and languages over manifests, as tables, plots and pages.

    manifests.py      names on the command line -> clips; a bad line is counted, named and skipped
    fleurs.py         the FLEURS test sets by name, from the Hugging Face hub
    recognition.py    clip -> `Recognition`: what was said, streamed, with the time at which every word appeared
    records.py        `Recognition`s on disk, so that a long evaluation goes on where it stopped
    normalisation.py  text -> the words or characters that are compared
    scoring.py        alignments, error counts, bootstrap
    judging.py        `Recognition` -> `Judged`: what is right, how sure the model was, how late it came
    calibration.py    confidence against truth
    report.py         `Judged` -> `Report`: every figure there is
    tables.py         `Report` -> text, Markdown
    plots.py          `Report` -> error rate against latency and delay, error rate per locale
    page.py           the worst clips as a page with players

Each step is a function of the one before: a `Report` can be made again from the records alone.
"""
