"""Create .venv from requirements.lock: `make setup`. Needs the standard library alone.

uv installs, several times faster than pip. It reads none of pip's settings, so they are handed on:
a machine that offers pip a mirror or a CPU build of torch offers them to uv too. Where uv cannot be
had, fails, or knows no counterpart of a setting, pip installs. After an interruption the next run
goes on.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from ast import literal_eval
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# In no extra and not in the lock: pip must be able to install the lock where uv cannot be had.
UV = "uv==0.13.9"
VENV = Path(".venv")
SITE_PACKAGES = "lib/python*/site-packages"
PYTHON = str(VENV / "bin" / "python")
PIP = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
LOCK = ["-r", "requirements.lock"]
PROJECT = ["--no-deps", "--no-build-isolation", "-e", "."]
WITH_PIP = "installing with pip, which takes 2 to 15 minutes and unpacks in silence"

# Gigabytes to download and on disk, measured on Linux with Python 3.11.
CPU_BUILD = "the CPU build of torch: 0.5 GB to download, 1.9 GB on disk"
CUDA_BUILD = "the CUDA build of torch: 3.1 GB to download, 5.6 GB on disk"
BYTECODE = "0.4 GB of bytecode"

# What uv calls pip's settings, and what stands between several values.
COUNTERPARTS = {
    "index-url": (["UV_DEFAULT_INDEX"], " "),
    "extra-index-url": (["UV_INDEX"], " "),
    "find-links": (["UV_FIND_LINKS"], ","),
    "constraint": (["UV_CONSTRAINT"], " "),
    "build-constraint": (["UV_BUILD_CONSTRAINT"], " "),
    "trusted-host": (["UV_INSECURE_HOST"], " "),
    "cert": (["SSL_CERT_FILE"], " "),
    "client-cert": (["SSL_CLIENT_CERT"], " "),
    "proxy": (["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], " "),
    "timeout": (["UV_HTTP_TIMEOUT"], " "),
    "default-timeout": (["UV_HTTP_TIMEOUT"], " "),
    "retries": (["UV_HTTP_RETRIES"], " "),
}
# Settings that change neither what is installed nor from where.
WITHOUT_EFFECT = re.compile(
    "break-system-packages|cache-dir|compile|config-file|debug|disable-pip-version-check"
    "|exists-action|log|log-file|no-color|no-compile|no-input|no-python-version-warning"
    "|no-warn-conflicts|no-warn-script-location|prefer-binary|progress-bar|quiet"
    "|require-virtualenv|resume-retries|root-user-action|src|upgrade|upgrade-strategy"
    "|use-feature|use-pep517|user|verbose"
)


@dataclass(frozen=True)
class ForUv:
    """pip's settings for uv: environment, options, and pip's names of what has no counterpart."""

    environment: dict[str, str]
    options: list[str]
    unknown: list[str]


def pip_settings(listing: str) -> dict[str, str]:
    """Return the settings of `pip install` by name, out of what `pip config list` prints.

    As in pip, a section replaces what one before it says, and an empty value says nothing.
    """
    lines = [line.partition("=") for line in listing.splitlines()]
    values = {key: str(literal_eval(value)) for key, found, value in lines if found}
    return {
        key.removeprefix(section): value
        for section in ("global.", "install.", ":env:.")
        for key, value in values.items()
        if key.startswith(section) and value.strip()
    }


def for_uv(settings: Mapping[str, str], environ: Mapping[str, str]) -> ForUv:
    """Translate pip's settings; what `environ` sets for uv by its own names stays."""
    environment = dict(environ)
    options: list[str] = []
    unknown: list[str] = []
    for name, value in settings.items():
        if name in COUNTERPARTS:
            variables, separator = COUNTERPARTS[name]
            text = separator.join(os.path.expanduser(word) for word in value.split())  # noqa: PTH111
            environment |= dict.fromkeys(variables, text)
        elif name == "no-index":
            options += ["--no-index"] if _is_true(value) else []
        elif name == "no-cache-dir":  # pip takes any value, "false" too, as yes
            environment["UV_NO_CACHE"] = "true"
        elif not WITHOUT_EFFECT.fullmatch(name):
            unknown.append(name)
    if "extra-index-url" in settings:  # pip compares indexes, uv stops at the first
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if not environment.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
        environment |= _bundle(environ)
    own = {key: value for key, value in environ.items() if key.startswith("UV_")}
    return ForUv(environment | own, options, sorted(unknown))


def announcement(packages: Iterable[str], bytecode: bool, free: float) -> str:
    """Say what will be installed, how much that is and how long it takes.

    Args:
        packages: Requirements to install, `name==version`.
        bytecode: Whether the packages are compiled too.
        free: Gigabytes of disk that are free.
    """
    names = [package.partition("==")[0] for package in packages]
    if not names:
        return "every package is there"
    if "torch" not in names:
        return f"installing {len(names)} package(s)"
    build = CUDA_BUILD if any(name.startswith("nvidia-") for name in names) else CPU_BUILD
    more, duration = (f" and {BYTECODE}", "a minute") if bytecode else ("", "half a minute")
    return (
        f"installing {len(names)} packages with {build}{more} ({free:.0f} GB are free); "
        f"about {duration} and the time of the download"
    )


def remove_unfinished(site_packages: Path) -> list[str]:
    """Remove the records of packages whose installation was cut off, so that they count as missing.

    Both installers take such a package for installed, and the files it lacks are missed on import.
    They write INSTALLER and RECORD last: pip in this order, uv over the RECORD of the wheel.

    Returns:
        Names of the removed folders.
    """
    cut_off = [
        folder
        for folder in sorted(site_packages.glob("*.dist-info"))
        if not all((folder / last).exists() for last in ("INSTALLER", "RECORD"))
    ]
    for folder in cut_off:
        shutil.rmtree(folder)
    return [folder.name for folder in cut_off]


def main() -> int:
    """Install what is missing; returns the exit code."""
    started = time.monotonic()
    try:
        _make_venv()
        if not _with_uv():
            _say(f"{CPU_BUILD}; {CUDA_BUILD}; and {BYTECODE}")
            _run([*PIP, "install", *LOCK])
            _run([*PIP, "install", *PROJECT])
    except subprocess.CalledProcessError:
        _say("the set-up failed, see above; `make setup` goes on from here")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; `make setup` goes on from here")
        return 130
    _say(f"ready after {time.monotonic() - started:.0f} s: source {VENV}/bin/activate")
    return 0


def _make_venv() -> None:
    for site_packages in VENV.glob(SITE_PACKAGES):
        if cut_off := remove_unfinished(site_packages):
            _say(f"installing again what was cut off: {', '.join(cut_off)}")
    if not (_has("pip-*") and os.access(PYTHON, os.X_OK) and (VENV / "bin" / "activate").exists()):
        _say(f"making {VENV} for Python {sys.version.split()[0]}")
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)])


def _with_uv() -> bool:
    """Install with uv; returns False, and says why, where pip must do it."""
    listing = subprocess.check_output([*PIP, "config", "list"], text=True)
    uv = for_uv(pip_settings(listing), {"UV_SYSTEM_CERTS": "true"} | os.environ)
    if uv.unknown:
        _say(f"uv knows no counterpart of pip's setting {', '.join(uv.unknown)}: {WITH_PIP}")
        return False
    if reason := _fetch_uv():
        _say(f"{UV} cannot be had ({reason}): {WITH_PIP}")
        return False
    install = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, *uv.options]
    try:
        _announce([*install, "--dry-run", "--color=never", *LOCK], uv.environment)
        _run([*install, *LOCK], uv.environment)
        _run([*install, *PROJECT], uv.environment)
    except subprocess.CalledProcessError:
        _say(f"uv failed, see above: {WITH_PIP}")
        return False
    if sys.dont_write_bytecode:
        _compile()
    return True


def _compile() -> None:
    """Compile what Python would compile at every start, as it may not keep the bytecode itself.

    uv compiles too, but not what an interruption left, and all tests of all packages. A package
    may hold files for another Python: that they do not compile is no error.
    """
    _say("compiling, because PYTHONDONTWRITEBYTECODE keeps Python from doing it when needed")
    command = [PYTHON, "-m", "compileall", "-qq", "-j0", "-x", "/tests?/", str(VENV / "lib")]
    subprocess.run(command, check=False)


def _fetch_uv() -> str | None:
    """Install uv unless it is there; returns why it cannot be had."""
    if _has(UV.replace("==", "-")):
        return None
    _say(f"fetching {UV} (18 MB to download, 37 MB on disk)")
    fetch = [*PIP, "install", "--quiet", "--only-binary", "uv", UV]
    fetched = subprocess.run(fetch, check=False, stderr=subprocess.PIPE, text=True)
    if not fetched.returncode:
        return None
    return (fetched.stderr.strip().splitlines() or ["pip gives no reason"])[-1]


def _announce(dry_run: list[str], environment: dict[str, str]) -> None:
    plan = subprocess.run(dry_run, check=False, stderr=subprocess.PIPE, text=True, env=environment)
    if plan.returncode:
        sys.stderr.write(plan.stderr)
        plan.check_returncode()
    packages = re.findall(r"^ \+ (\S+)", plan.stderr, flags=re.MULTILINE)
    _say(announcement(packages, sys.dont_write_bytecode, shutil.disk_usage(VENV).free / 1e9))


def _bundle(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the certificates that pip takes from other tools' variables and uv does not."""
    path = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE")
    if not path:
        return {}
    return {"SSL_CERT_DIR" if Path(path).is_dir() else "SSL_CERT_FILE": path}


def _has(package: str) -> bool:
    return any(VENV.glob(f"{SITE_PACKAGES}/{package}.dist-info"))


def _is_true(value: str) -> bool:
    return value.strip().lower() in {"1", "on", "t", "true", "y", "yes"}


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


def _say(sentence: str) -> None:
    sys.stdout.write(f"forgetflow: {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
