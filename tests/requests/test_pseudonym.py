import stat

import pytest

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.requests.pseudonym import is_pseudonym, pseudonym, pseudonym_key


def test_key_is_made_once_and_for_its_owner_only(project):
    key = pseudonym_key(project)
    path = project.root / project.settings.privacy.key_file
    assert len(key) == 32
    assert pseudonym_key(Project(project.root)) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_second_of_two_makers_keeps_the_first_ones_key(project, monkeypatch):
    # Both found no file; the other one was faster.
    key = pseudonym_key(project)
    path = project.root / project.settings.privacy.key_file
    monkeypatch.setattr(type(path), "exists", lambda self: False)
    assert pseudonym_key(project) == key


@pytest.mark.parametrize("content", ["", "abc", "00" * 31, "zz" * 32])
def test_a_damaged_key_is_refused(project, content):
    path = project.root / project.settings.privacy.key_file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match="is not a pseudonym key"):
        pseudonym_key(project)


def test_pseudonyms_depend_on_key_domain_and_value():
    a, b = b"a" * 32, b"b" * 32
    names = {
        pseudonym(a, "requester", "ann"),
        pseudonym(b, "requester", "ann"),
        pseudonym(a, "subject", "ann"),
        pseudonym(a, "requester", "bob"),
        pseudonym(a, "requester:a", "nn"),
    }
    assert len(names) == 5
    assert all(is_pseudonym(one) for one in names)
    assert pseudonym(a, "requester", "ann") == pseudonym(a, "requester", "ann")
