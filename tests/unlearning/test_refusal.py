"""Sealing asks the method, except where the answer is known without it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.unlearning.protocol import ANY_FAMILY
from forgetflow.unlearning.refusal import NEVER_REFUSE, check_method
from forgetflow.unlearning.registry import METHODS


@pytest.mark.parametrize("name", sorted(NEVER_REFUSE))
def test_methods_that_are_not_asked_would_refuse_nothing(name):
    assert METHODS[name].families == ANY_FAMILY
    assert METHODS[name].refuses(None) is None  # it does not even look at the deletion


def test_all_others_are_asked(tmp_path):
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    project = Project(tmp_path)
    check_method(project, "finetune")
    with pytest.raises(InputError, match="unknown unlearning method 'amnesia'"):
        check_method(project, "amnesia")
    with pytest.raises(InputError, match="'dare' cannot treat"):
        check_method(project, "dare")


def test_sealing_for_a_method_that_is_not_asked_leaves_torch_alone():
    code = (
        "import sys; from forgetflow.versioning import dvc; "
        "from forgetflow.unlearning.refusal import check_method; check_method(None, 'sisa'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
