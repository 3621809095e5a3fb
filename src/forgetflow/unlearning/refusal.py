"""Asked before anything is sealed: is this deletion one for the method that is to serve it?

Asking a method takes torch, longer than all else that sealing does. The methods that every
project uses are known to serve every deletion, so they are not asked.
"""

from forgetflow.config.project import Project
from forgetflow.requests.batches import forgotten_ids
from forgetflow.requests.manifest import Manifest

NEVER_REFUSE = frozenset({"sisa", "retrain"})
"""Methods that build again from what is left: any deletion, constituents of any family."""


def check_method(project: Project, name: str) -> None:
    """Check that there is such a method and that it can treat the project's models.

    Raises:
        InputError: there is none, or it cannot.
    """
    if name in NEVER_REFUSE:
        return
    from forgetflow.unlearning.registry import method_named

    method_named(name, project.settings)


def refuse_manifest(project: Project, manifest: Manifest) -> None:
    """Check that a batch, sealed or about to be, is one for its method.

    Nothing is asked of a project that has no placement yet: it has no model to unlearn from.

    Raises:
        InputError: there is no such method, or the batch is not for it; the message says why.
    """
    if manifest.method in NEVER_REFUSE:
        return
    from forgetflow.training.workspace import Workspace
    from forgetflow.unlearning.protocol import refuse
    from forgetflow.unlearning.registry import method_named
    from forgetflow.unlearning.view import View

    method = method_named(manifest.method, project.settings)
    if not (project.partition / "assignment.parquet").is_file():
        return
    space = Workspace.open(project)
    forget = space.records.mask(manifest.record_ids)
    kept = ~space.records.mask(forgotten_ids(project, manifest.parent))
    parent = space.card(manifest.parent, [], kept)  # its constituents are nothing to ask about
    refuse(method, View(manifest.batch, parent, method.needs, space, kept & ~forget, forget))
