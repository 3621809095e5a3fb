"""Studies: questions of the literature, asked again of the user's own records.

Pure computation; `flows/study.py` runs, caches and publishes any study, `pages` shows it.

    protocol.py   what a study is: data, trials, results
    registry.py   all of them by name
    grid.py       what grids check alike; `<study>_grid.py` is what one compares
    draws.py      who asks for deletion
    counting.py   what the trainer would then train again
    expected.py   the exact expectation of that, and its spread
    builds.py     accuracy of trained ensembles
    paper.py      the published speed-ups, recomputed
    sharding.py, forest.py, arcane.py    one study each: trials, results, metrics
"""
