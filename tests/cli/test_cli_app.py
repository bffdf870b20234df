"""The program as the shell sees it: endings, help, a surface that changes only on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from cli_runs import Run, one_line

from kshot.cli import app as program
from kshot.errors import InternalError

METER = ["--active-timeout", "--idle-timeout", "--no-tunnels"]
SURFACE = {
    "flows": sorted(
        [*METER, "--duration", "--interface", "--ring", "--format", "-o", "--output", "--quiet", "-q", "--stats"]
    ),
    "learn": sorted(
        [
            *METER,
            "--add",
            "--attack",
            "--description",
            "--drop",
            "--keep",
            "--max-shots",
            "--quiet",
            "-q",
            "--reference",
            "--replace",
            "--severity",
            "--shots",
            "--where",
        ]
    ),
    "scan": sorted(
        [
            *METER,
            "--alerts-per-day",
            "--fail-on",
            "--false-alarm-rate",
            "--format",
            "-o",
            "--output",
            "--quiet",
            "-q",
            "--reference",
            "--report",
            "--screen",
            "--threats",
            "--unknown",
            "--verdicts",
            "--where",
        ]
    ),
    "explain": sorted(
        [
            *METER,
            *"""--alert --alerts-per-day --false-alarm-rate --format -o --output --quiet -q --record --reference
            --screen --threats --unknown --where""".split(),
        ]
    ),
    "data check": ["--quiet", "-q"],
    "data import": ["--from", "--map", "--quiet", "--replace", "--unverified", "-q"],
    "data list": ["--format", "--output", "-o"],
    "data remove": [],
    "bench": sorted(
        """--benign --captures --data --drop --jobs --k --label --learners --output --protocol --quiet --report --seeds
        --set --split --table --weights -q""".split()
    ),
    "config check": [],
    "demo": ["--open", "--output"],
    "doctor": ["--warm"],
    "train": sorted(
        """--benign --checkpoint-every --corpus --data --device --k --label --learner --loop --minutes --mlflow --model
        --model-set --n-way --out --pseudo-share --quiet --replace --resume --seed --set --steps --synthetic-share
        --table --validate -q""".split()
    ),
    "watch": sorted(
        [
            *METER,
            "--config",
            "--fanout-group",
            "--interface",
            "--no-early",
            "--ring",
            "--alerts-per-day",
            "--alerts-per-hour",
            "--batch-seconds",
            "--captures",
            "--duration",
            "--eve",
            "--false-alarm-rate",
            "--keep-alerts",
            "--metrics",
            "--output",
            "--reference",
            "--segment",
            "--stats",
            "--store",
            "--threats",
            "--zeek",
        ]
    ),
    "alerts list": ["--format", "--last", "--open", "--output", "--store", "--threat", "--unsuppressed", "-o"],
    "alerts show": ["--store"],
    "alerts label": ["--note", "--preview", "--reference", "--store", "--threat"],
    "alerts suppress": ["--note", "--originator", "--responder", "--store", "--threat", "--until"],
    "alerts suppressions": ["--all", "--format", "--output", "--store", "-o"],
    "alerts unsuppress": ["--store"],
    "alerts purge": ["--older-than", "--store"],
    "alerts undo": ["--store"],
    "reference build": sorted(
        [*METER, "--add", "--days", "--from", "--network", "--quiet", "--store", "--threats", "-q"]
    ),
    "reference list": ["--format", "--output", "-o"],
    "reference remove": [],
    "threats list": ["--format", "--output", "-o"],
    "threats show": [],
    "threats remove": [],
    "threats export": ["--output"],
    "threats import": ["--replace"],
}


def surface() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def walk(command: object, path: str) -> None:
        children = getattr(command, "commands", None)
        if children:
            for name, child in children.items():
                walk(child, f"{path} {name}".strip())
            return
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]  # type: ignore[attr-defined]
        found[path] = sorted(options)

    walk(typer.main.get_command(program.app), "")
    return found


def test_the_surface_changes_only_on_purpose() -> None:
    assert surface() == SURFACE


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["flows"],
        ["learn"],
        ["scan"],
        ["watch"],
        ["alerts", "list"],
        ["alerts", "label"],
        ["doctor"],
        ["threats", "list"],
        ["threats", "show"],
        ["data", "import"],
        ["train"],
    ],
)
def test_help_has_examples(run: Run, verb: list[str]) -> None:
    ran = run(*verb, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert f"kshot {' '.join(verb)}".strip() in ran.out
    assert "Example" in ran.out or not verb


@pytest.mark.parametrize("flag", ["--help", "--version", "flows --help", "scan --help", "learn --help", "watch --help"])
def test_help_is_instant(flag: str) -> None:
    code = (
        "import sys; from kshot.cli import main; main(sys.argv[1:]); "
        "heavy = {'numba', 'polars', 'sklearn', 'numpy', 'scipy', 'sqlalchemy'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *flag.split()], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_version(run: Run) -> None:
    from kshot import __version__

    assert run("--version").out == f"kshot {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'; see: kshot --help"),
        (["flows"], "give captures or --interface IF; see: kshot flows --help"),
        (["scan", "x.pcap", "--loud"], "see: kshot scan --help"),
        (["flows", "x.pcap", "--idle-timeout", "soon"], "see: kshot flows --help"),
        (["flows", "x.pcap", "-o", "eve"], "see: kshot flows --help"),
        (["learn", "x"], "see: kshot learn --help"),
        (["scan", "x", "--false-alarm-rate", "2"], "is not between 0 and 1"),
        (["scan", "x", "--false-alarm-rate", "nan"], "is not between 0 and 1"),
        (["scan", "x", "--alerts-per-day", "0"], "is not above 0"),
        (["watch"], "give one of --interface IF, --zeek DIR, --eve PATH, --captures DIR, or -"),
        (["watch", "-", "--eve", "x"], "give one of --interface IF, --zeek DIR"),
        (["watch", "-", "--metrics", "no"], "is no [HOST:]PORT"),
        (["watch", "--zeek", "/nowhere"], "is no folder"),
        (["alerts", "show", "7"], "there is no alert 7; see: kshot alerts list"),
        (["alerts", "label", "7", "evil"], "see: kshot alerts label --help"),
        (["scan", "x", "--false-alarm-rate", "0.1", "--alerts-per-day", "5"], "give one"),
    ],
)
def test_a_wrong_flag_is_one_line(run: Run, arguments: list[str], said: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in one_line(ran.err)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (InternalError("a column is missing"), 1, "a fault of kshot itself: a column is missing"),
        (ZeroDivisionError("division\nby zero"), 1, "ZeroDivisionError: division by zero"),
        (MemoryError(), 2, "out of memory; give it more"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_went_wrong_decides_the_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(**_: object) -> int:
        raise raised

    monkeypatch.setattr("kshot.store.ThreatStore.names", lambda self: fail())
    monkeypatch.delenv("KSHOT_TRACEBACK", raising=False)
    ran = run("threats", "list")
    assert (ran.code, ran.out) == (code, "")
    assert said in one_line(ran.err)


def test_a_traceback_is_shown_when_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.store.ThreatStore.names", lambda self: 1 / 0)
    monkeypatch.setenv("KSHOT_TRACEBACK", "1")
    ran = run("threats", "list")
    assert ran.code == 1
    assert "Traceback" in ran.err


def test_a_reader_that_leaves_is_no_fault(days: Path) -> None:
    program = f"{sys.executable} -m kshot flows {days / 'one.pcap'} -o jsonl | head -n 1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("\n") == 1


def test_interrupted_leaves_nothing_behind(days: Path, tmp_path: Path) -> None:
    # The pipe never ends, so the program waits until it is interrupted.
    process = subprocess.Popen(
        [sys.executable, "-m", "kshot", "flows", "-", "--output", str(tmp_path / "flows.csv")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write((days / "one.pcap").read_bytes()[:30_000])
    process.stdin.flush()
    deadline = 300
    while not list(tmp_path.glob(".flows.csv*")) and deadline:
        deadline -= 1
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    os.kill(process.pid, signal.SIGINT)
    said = process.stderr.read().decode()
    process.stdin.close()
    process.stderr.close()
    assert process.wait(30) == 130
    assert one_line(said) == "interrupted"
    assert [path.name for path in tmp_path.iterdir() if "flows" in path.name] == []


def test_completion_is_offered_for_the_shell(days: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "kshot"],
        env={**os.environ, "_KSHOT_COMPLETE": "complete_bash", "COMP_WORDS": "kshot thr", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.split() == ["threats"]


def test_python_m_kshot_is_kshot() -> None:
    ran = subprocess.run([sys.executable, "-m", "kshot", "--version"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stdout.startswith("kshot ")
