"""build.py and its tools: what it takes for complete, what it repairs, what it tells people to install."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build as build_module
from tools import environment, steps, system

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {"shaderlm": "runtime", "shaderlm.shaders": "shaders", "shaderlm.web": "web"}


# The package


def packages_in_the_tree() -> set[str]:
    names = set()
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("__init__.py"):
            names.add(".".join((package, *path.parent.relative_to(ROOT / folder).parts)))
    return names


def test_every_package_is_listed_in_pyproject():
    assert {*environment.PACKAGED} == {*FOLDERS.values()} == {*PROJECT["tool"]["setuptools"]["package-dir"].values()}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_in_the_tree()


def test_the_wheel_holds_every_module_and_kernel(tmp_path):
    for name in environment.PACKAGED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tmp_path, tmp_path], check=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".wgsl", ".typed")
    }
    assert packed == expected


# What is complete


@pytest.fixture
def venv(tmp_path, monkeypatch) -> Path:
    """Another place for .venv, still without one."""
    folder = tmp_path / ".venv"
    monkeypatch.setattr(environment, "PYTHON", folder / environment.PYTHON.relative_to(environment.VENV))
    monkeypatch.setattr(environment, "VENV", folder)
    monkeypatch.setattr(environment, "STAMP", folder / environment.STAMP.name)
    return folder


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "runtime/hosts").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "runtime/hosts/one.py").write_text("1\n")
    return folder


def test_a_set_up_is_made_again_for_new_files_and_requirements_not_for_edits(checkout):
    python = Path(sys.executable)
    before = environment.state(checkout, python)
    (checkout / "runtime/hosts/one.py").write_text("2\n")
    (checkout / "runtime/__pycache__").mkdir()
    (checkout / "runtime/__pycache__/one.pyc").write_bytes(b"")
    assert environment.state(checkout, python) == before
    (checkout / "runtime/two.py").write_text("")
    with_file = environment.state(checkout, python)
    (checkout / "pyproject.toml").write_text("[project]\ndependencies = []\n")
    states = {
        before,
        with_file,
        environment.state(checkout, python),
        environment.state(checkout, Path("/other/python")),
    }
    assert len(states) == 4


def test_a_set_up_is_complete_only_with_its_stamp_and_what_it_brought(venv, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / "build/__editable__.shaderlm").mkdir(parents=True)  # where setuptools links an editable package's files
    venv.mkdir()
    environment.PYTHON.parent.mkdir(parents=True)
    environment.PYTHON.touch()
    assert not environment.is_complete({"gpu"})
    environment.complete({"gpu", "lint"})
    assert environment.is_complete({"gpu"})
    assert not environment.is_complete({"gpu", "test"})
    assert environment.begin() == {"gpu", "lint"}
    assert not environment.is_complete({"gpu"})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"brought": 1}', '{"brought": ["gpu"]}'])
def test_a_broken_stamp_is_none(venv, text):
    venv.mkdir()
    environment.STAMP.write_text(text)
    assert environment.read_stamp() == environment.Stamp()


def installed(site: Path, name: str, *, missing: str = "") -> Path:
    """A distribution with two modules, as pip leaves it; without one of its files, if so asked."""
    info = site / f"{name}-1.0.dist-info"
    files = [f"{name}/__init__.py", f'{name}/"odd, name.py', f"{info.name}/METADATA", f"{info.name}/RECORD"]
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()
    quoted = ['"' + file.replace('"', '""') + '"' for file in files]
    (info / "RECORD").write_text("\n".join(f"{file},," for file in [*quoted, f"{name}/__pycache__/x.pyc"]) + "\n")
    if missing:
        (site / missing).unlink()
    return info


def test_what_a_stopped_pip_left_is_dropped_and_nothing_else(tmp_path):
    whole = installed(tmp_path, "whole")
    no_record = installed(tmp_path, "norecord", missing="norecord-1.0.dist-info/RECORD")
    no_module = installed(tmp_path, "nomodule", missing="nomodule/__init__.py")
    (tmp_path / "~umpy").mkdir()
    environment.drop_half_installed(tmp_path)
    assert (whole.exists(), no_record.exists(), no_module.exists()) == (True, False, False)
    assert not (tmp_path / "~umpy").exists()


def test_an_environment_whose_making_was_stopped_is_made_anew(venv):
    environment.make()
    pip = environment.site_packages() / "pip"
    shutil.rmtree(pip / "_internal")
    environment.make()
    assert (pip / "_internal").is_dir()
    made = environment.PYTHON.stat().st_ctime_ns
    environment.make()
    assert environment.PYTHON.stat().st_ctime_ns == made


def test_missing_packages_are_named_as_pyproject_does(venv):
    site = venv / "Lib/site-packages"
    site.mkdir(parents=True)
    for name in ("numpy-2.0.dist-info", "Jinja2-3.1.dist-info", "pytest_cov-5.0.dist-info"):
        (site / name).mkdir()
    missing = environment.missing_packages(["test"])
    assert {"wgpu", "tokenizers", "pytest"} <= set(missing)
    assert not {"numpy", "jinja2", "pytest-cov"} & set(missing)


# One at a time


HOLDER = """
import os, subprocess, sys
from tools import steps
with steps.one_at_a_time():
    step = subprocess.Popen([sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"], close_fds=False)
    step.wait()
"""


@pytest.mark.skipif(os.name == "nt", reason="on Windows the lock is not inherited")
def test_a_step_that_outlives_a_killed_start_keeps_the_lock():
    import fcntl

    def is_free() -> bool:
        with open(ROOT / "build/setup.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdout.readline()  # the step runs
    holder.kill()
    holder.wait()
    assert not is_free()
    holder.stdin.close()  # which ends the step
    holder.stdout.read()  # returns when the step's end is closed too
    assert is_free()


STEP = """
import sys
from tools import steps
raise SystemExit(steps.call([sys.executable, "-c", sys.argv[1]]))
"""


def test_a_step_talks_to_stderr_and_its_status_is_handed_on():
    code = "import sys; print('said'); sys.exit(7)"
    done = subprocess.run([sys.executable, "-c", STEP, code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "said\n")


def test_a_program_that_is_not_there_counts_as_failed():
    assert steps.call(["shaderlm-has-no-such-program"]) == 127


# What people are told


@pytest.mark.parametrize(
    ("family", "root", "expected"),
    [
        (
            "debian",
            False,
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends python3-venv libvulkan1",
        ),
        ("debian", True, "apt-get update && apt-get install -y --no-install-recommends python3-venv libvulkan1"),
        ("fedora", False, "sudo dnf install -y python3 vulkan-loader"),
        ("arch", False, "sudo pacman -S --needed python vulkan-icd-loader"),
        ("macos", False, "brew install python"),
        ("windows", False, "winget install Python.Python.3.12"),
    ],
)
def test_the_command_to_type_is_that_of_the_system(family, root, expected):
    assert system.how_to_install(family, ["venv", "vulkan"], root=root).strip() == expected


def test_an_unknown_linux_gets_the_names_of_those_we_know():
    text = system.how_to_install("linux", ["driver"], root=True)
    assert re.findall(r"^ +(\w+):", text, re.MULTILINE) == ["debian", "fedora", "arch"]


def test_who_is_not_root_is_told_how_to_get_firefox(monkeypatch):
    monkeypatch.delenv("SHADERLM_FIREFOX", raising=False)
    monkeypatch.setattr(system, "FIREFOXES", ())
    monkeypatch.setattr(system, "is_root", lambda: False)
    with pytest.raises(steps.Stop, match=r"(apt-get|dnf|pacman|brew|winget|snap) (.*)[Ff]irefox"):
        system.need_firefox()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('ID=debian\nVERSION_ID="12"\n', ["debian"]),
        ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', ["linuxmint", "ubuntu", "debian"]),
        ("", []),
    ],
)
def test_a_linux_is_known_by_its_name_and_kin(tmp_path, text, names):
    file = tmp_path / "os-release"
    file.write_text(text)
    assert system.os_release(file) == names
    assert system.os_release(tmp_path / "none") == []


# The command


def build(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "build.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_without_a_verb_the_usage_is_on_stderr_and_the_status_says_so(tmp_path):
    for arguments in ([], ["dance"]):
        done = build(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "build.py run" in done.stderr


def test_help_is_an_answer(tmp_path):
    done = build("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"build.py {verb}" in done.stdout for verb in ("run", "test", "setup", "lint", "bench", "web", "wheel"))


@pytest.mark.parametrize(
    ("words", "slow", "covered"),
    [([], False, False), (["--slow"], True, True), (["--slow", "-k", "gguf"], True, False), (["-x"], False, False)],
)
def test_all_tests_together_are_held_against_a_share_of_the_package(words, slow, covered):
    arguments = build_module.pytest_arguments(words)
    assert ("-m" in arguments, "--cov-fail-under=90" in arguments) == (slow, covered)
    assert "--slow" not in arguments
    assert {*words} - {"--slow"} <= {*arguments}


@pytest.mark.parametrize("words", [["-x", "--models", "mine", "-k", "seed"], ["-x", "--models=mine", "-k", "seed"]])
def test_a_folder_of_models_is_tried_by_its_own_tests_alone(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/below").mkdir(parents=True)
    (tmp_path / "mine/below/model.GGUF").touch()
    arguments = build_module.pytest_arguments(words)
    assert arguments[1:] == [f"--models={tmp_path / 'mine'}", "tests/test_every_model.py", "-x", "-k", "seed"]
    assert (ROOT / arguments[2]).is_file()


@pytest.mark.parametrize("words", [["--models"], ["--models="], ["--models", "nowhere"], ["--models", "empty"]])
def test_a_folder_of_models_must_hold_some(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(steps.Stop, match=r"there is no \.gguf file in"):
        build_module.pytest_arguments(words)


def test_our_own_model_does_what_every_model_must():
    options = ["-q", f"--models={ROOT / 'tests/data'}", str(ROOT / build_module.MODELS_TEST)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout  # and none skipped


def test_every_system_in_the_workflows_runs_both_commands():
    jobs = re.split(r"^  (?=\w+:$)", (ROOT / ".github/workflows/test.yml").read_text().split("jobs:\n")[1], flags=re.M)
    named = {job.split(":")[0]: job for job in jobs if job.strip()}
    assert {"ubuntu", "macos", "windows"} <= set(named)
    for job in named.values():
        assert re.search(r"build\.py run$", job, re.MULTILINE)
        assert re.search(r"build\.py test$", job, re.MULTILINE)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_the_ci_script_is_executable():
    assert os.access(ROOT / ".ci/run", os.X_OK)
