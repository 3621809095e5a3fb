"""Studies: questions of the literature, asked again of the user's own records.

Pure computation and files; `flows/study.py` runs and caches it.

    grid.py       what is compared, and what cannot be
    draws.py      who asks for deletion
    counting.py   what the trainer would then train again
    expected.py   the exact expectation of that, and its spread
    builds.py     accuracy of trained ensembles
    paper.py      the published speed-ups, recomputed
    sharding.py   everything together, as rows and files
    page.py       the same as one page, with `figures.py`
"""
