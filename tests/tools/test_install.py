from pathlib import Path

import pytest

from tools.install import announcement, for_uv, pip_settings, remove_unfinished

LISTING = """\
:env:.cert='/env.pem'
:env:.find-links=''
download.find-links='/not/for/install'
global.cert='/global.pem'
global.find-links='/wheels ~/more'
global.index-url='https://index.example/simple?a=b'
global.timeout='60'
install.timeout='90'
install.extra-index-url='\\nfile:///one\\nfile:///two'
"""


def test_a_later_section_replaces_what_one_before_it_says() -> None:
    assert pip_settings(LISTING) == {
        "cert": "/env.pem",
        "extra-index-url": "\nfile:///one\nfile:///two",
        "find-links": "/wheels ~/more",
        "index-url": "https://index.example/simple?a=b",
        "timeout": "90",
    }


def test_indexes_wheels_certificates_and_limits_are_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    uv = for_uv(pip_settings(LISTING) | {"proxy": "http://proxy.example:3128"}, {"HOME": "kept"})
    assert uv.environment == {
        "ALL_PROXY": "http://proxy.example:3128",
        "HOME": "kept",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "SSL_CERT_FILE": "/env.pem",
        "UV_DEFAULT_INDEX": "https://index.example/simple?a=b",
        "UV_FIND_LINKS": "/wheels,/home/ada/more",
        "UV_HTTP_TIMEOUT": "90",
        "UV_INDEX": "file:///one file:///two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert (uv.options, uv.unknown) == ([], [])


def test_what_the_environment_says_to_uv_stays() -> None:
    environ = {"UV_FIND_LINKS": "/mine", "SSL_CERT_FILE": "/system.pem"}
    uv = for_uv({"find-links": "/wheels", "cert": "/pip.pem"}, environ)
    assert uv.environment == {"UV_FIND_LINKS": "/mine", "SSL_CERT_FILE": "/pip.pem"}


@pytest.mark.parametrize(
    ("environ", "added"),
    [
        ({"REQUESTS_CA_BUNDLE": "/r.pem", "CURL_CA_BUNDLE": "/c.pem"}, {"SSL_CERT_FILE": "/r.pem"}),
        ({"CURL_CA_BUNDLE": "/"}, {"SSL_CERT_DIR": "/"}),
        ({"CURL_CA_BUNDLE": "/c.pem", "SSL_CERT_DIR": "/own"}, {}),
        ({}, {}),
    ],
)
def test_certificates_that_pip_finds_by_other_names(
    environ: dict[str, str], added: dict[str, str]
) -> None:
    assert for_uv({}, environ).environment == environ | added


@pytest.mark.parametrize(
    ("settings", "environment", "options", "unknown"),
    [
        ({"no-index": "true"}, {}, ["--no-index"], []),
        ({"no-index": "off"}, {}, [], []),
        ({"no-cache-dir": "false"}, {"UV_NO_CACHE": "true"}, [], []),
        ({"disable-pip-version-check": "1", "progress-bar": "off", "user": "yes"}, {}, [], []),
        ({"target": "/t", "only-binary": ":all:"}, {}, [], ["only-binary", "target"]),
    ],
)
def test_switches_and_settings_without_counterpart(
    settings: dict[str, str], environment: dict[str, str], options: list[str], unknown: list[str]
) -> None:
    uv = for_uv(settings, {})
    assert (uv.environment, uv.options, uv.unknown) == (environment, options, unknown)


@pytest.mark.parametrize(
    ("packages", "bytecode", "said"),
    [
        (["six==1", "torch==2.13.0+cpu"], False, ["2 packages", "CPU", "1.9 GB", "7 GB are free"]),
        (["six==1", "torch==2.13.0+cpu"], True, ["CPU", "1.9 GB on disk and 0.4 GB of bytecode"]),
        (["nvidia-cublas==13", "torch==2.13.0"], False, ["2 packages", "CUDA", "5.6 GB"]),
        (["six==1", "nvidia-cublas==13"], False, ["installing 2 package(s)"]),
        ([], True, ["every package is there"]),
    ],
)
def test_size_is_said_before_anything_is_installed(
    packages: list[str], bytecode: bool, said: list[str]
) -> None:
    sentence = announcement(packages, bytecode, 7.2)
    assert [words for words in said if words not in sentence] == []


def test_a_package_that_was_cut_off_counts_as_missing(tmp_path: Path) -> None:
    last = {"whole-1": ["INSTALLER", "RECORD"], "uv-2": ["RECORD"], "pip-3": ["INSTALLER"]}
    for name, files in last.items():
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        for file in files:
            (folder / file).touch()
    assert remove_unfinished(tmp_path) == ["pip-3.dist-info", "uv-2.dist-info"]
    assert [path.name for path in tmp_path.iterdir()] == ["whole-1.dist-info"]
    assert remove_unfinished(tmp_path) == []
