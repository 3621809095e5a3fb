"""Deletion requests: intake, resolve subject -> records, seal, ledger.

    inbox/, CLI -> importers -> RequestBook --+
                                              +--> seal --> manifest, batches.yaml, ledger
    data/train  -> selectors -----------------+

Record and subject ids stay in the request book and the sealed manifests. `batches.yaml` and the
ledger go into git and see counts, digests, pseudonyms and timestamps only. Error messages and
`SealResult.outcomes` are for the terminal of whoever asked; log `SealResult.facts()` instead.
"""
