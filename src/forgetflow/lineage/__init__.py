"""The history of models in MLflow: register, tag, link; the family tree as text and as a page.

    ModelCard + measures ──► register ──► MLflow: version n = generation n, one run per batch
                                             │
                        read_tree ◄──────────┘
                            │
                            └──► as_text, as_mermaid, as_json, or `pages.lineage`

`read_tree` asks MLflow only after its database has changed (`snapshot`).

MLflow's database and artifacts see counts, digests, names of generations and weights; never a
record, a subject or a feature. MLflow itself is imported inside functions, because it takes a
second that no other verb of the command line should pay.
"""
