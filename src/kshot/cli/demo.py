"""`kshot demo`: attacks found in a real capture, a new one taught from five flows, a report."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from kshot.cli.messages import Messages

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from kshot.records.threats import Threat
    from kshot.report import Report, Tally
    from kshot.stream.learning import Lesson
    from kshot.stream.pipeline import Records, ScanResult

T = TypeVar("T")
TAUGHT = "mqtt-bruteforce"
SHOTS = 5
FALSE_ALARM_RATE = 0.001
LEAST_RECALL, MOST_FALSE_ALARMS = 0.9, 0.001
"""What the demonstration is to reach; where a figure falls short of it, it says so."""
CAPTURES = Path(__file__).resolve().parent.parent / "content" / "captures"
_SCAN = f"kshot scan find.pcap.xz --reference quiet.pcap.xz --false-alarm-rate {FALSE_ALARM_RATE}"
_ATTACKER = "originator = '{}' and resp_port = 1883"


def demo(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where the report and copies of the captures go.")
    ] = Path("kshot-demo"),
    show: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
) -> int:
    """Watch kshot find attacks in a capture, learn one from five flows, and find that too. Takes under a minute.

    Both captures ship with kshot, with the truth of every flow; neither the network nor your own threats are touched.

    [bold]Examples[/]

    kshot demo

    kshot demo --output /tmp/demo --open
    """
    import time

    from rich.console import Console

    from kshot.cli.views import lasted

    began = time.perf_counter()
    _prepare(output)
    console = Console(highlight=False)
    stage = _Stage(console)
    stage.meet()
    report = stage.report(*stage.scan_twice())
    _tell(console, report, stage.learned.shots.height)
    path = _write(output, report)
    console.print(f"\n[bold]The report:[/] {path}", soft_wrap=True)
    console.print(f"Captures and truth are beside it. {lasted(round(time.perf_counter() - began))} in all.")
    if show:
        import webbrowser

        if not webbrowser.open(path.as_uri()):
            Messages().note("there is no browser to open the report with; open the file above in one")
    return 0


@dataclass
class _Capture:
    """A shipped capture, metered, and the truth of its flows."""

    about: dict[str, Any]
    records: Records
    truth: pl.DataFrame


class _Aside(Generic[T]):
    """A call in a thread of its own; the kernels run without the interpreter's lock, so two make use of two cores."""

    def __init__(self, function: Callable[..., T], *arguments: Any) -> None:
        self._outcome: list[T] = []
        self._failure: list[BaseException] = []

        def work() -> None:
            try:
                self._outcome.append(function(*arguments))
            except BaseException as error:  # raised again where the result is asked for
                self._failure.append(error)

        # A daemon: an interrupt ends the program at once.
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for the call's outcome, and return or raise it."""
        self._thread.join()
        if self._failure:
            raise self._failure[0]
        return self._outcome[0]


class _Stage:
    """The demonstration step by step; each says what it does and what came of it."""

    def __init__(self, console: Console) -> None:
        from kshot.store import builtin_threats

        self._console = console
        self._told = tomllib.loads((CAPTURES / "captures.toml").read_text())
        # Held back, so that there is something to teach: nobody ships a threat for everything.
        self.library: list[Threat] = [threat for threat in builtin_threats() if threat.name != TAUGHT]
        self.learned: Threat
        self.find: _Capture
        self.reference: Records

    def meet(self) -> None:
        """Read the capture to find in, and the reference from before."""
        self._head("A small network, before and after intruders came", "kshot flows find.pcap.xz")
        # The two follow each other, so they are one stream: what hosts did in the first is known in the second.
        both = self._meter("quiet", "find")
        normal = both.frame["first_time"] < self._told["find"]["begins"]
        self.reference = both.filter(normal)
        self.find = self._with_truth("find", both.filter(~normal))
        self._say(
            f"quiet.pcap.xz: {len(self.reference):,} flows of users and machines, the reference of what is normal:"
        )
        self._say("web, mail, SSH, DNS, NTP, MQTT, Modbus, databases, backups, telemetry, mistyped passwords.")
        tools = ", ".join(tool for names in self.find.about["tools"].values() for tool in names)
        self._say(f"find.pcap.xz: {len(self.find.records):,} flows, the same life and {tools}.")

    def scan_twice(self) -> tuple[ScanResult, ScanResult]:
        """Scan without the threat, teach it, scan with it; told one after the other, and reckoned side by side."""
        lesson, where, tools = self._learn()
        self.learned = lesson.threat
        scans = [_Aside(self._scan, self.library), _Aside(self._scan, [*self.library, self.learned])]
        self._head(f"Look for {len(self.library)} built-in threats", _SCAN)
        self._say(f"({TAUGHT} ships with kshot too; it is held back here, so that there is something to teach.)")
        before = self._wait(scans[0])
        command = f'kshot learn {TAUGHT} --shots learn.pcap.xz --max-shots {SHOTS} --where "{where}"'
        self._head(f"Teach {TAUGHT} from {SHOTS} flows of another network, another tool", command)
        self._say(f"{SHOTS} of {lesson.labelled} flows that {tools} made there; not one address, port or time is kept.")
        self._head("Look again", _SCAN)
        return before, self._wait(scans[1])

    def _learn(self) -> tuple[Lesson, str, str]:
        """The threat from a few flows of another network's capture, how they are chosen, and what made them."""
        from kshot.stream.learning import LearnOptions, learn

        capture = self._with_truth("learn", self._meter("learn"))
        where = _ATTACKER.format(capture.records.frame.filter(capture.truth["part"] == "attack")["originator"][0])
        options = LearnOptions(
            where=where,
            max_shots=SHOTS,
            attack=("T1110.001",),
            description="Passwords guessed at an MQTT broker",
            severity="high",
        )
        lesson = learn(TAUGHT, [("learn.pcap.xz", capture.records)], options=options)
        return lesson, where, ", ".join(capture.about["tools"][TAUGHT])

    def _wait(self, scan: _Aside[ScanResult]) -> ScanResult:
        with self._working("scanning"):
            result = scan.result()
        alerts = result.alerts
        names = dict.fromkeys(alerts["threat"])
        self._say(f"{alerts.height} alerts: {', '.join(names)}.")
        return result

    def report(self, before: ScanResult, after: ScanResult) -> Report:
        """What there is to tell about both scans."""
        from kshot import __version__
        from kshot.report import Known, report_of_scan

        return report_of_scan(
            self.find.records,
            [*self.library, self.learned],
            after,
            reference=self.reference,
            title=f"{TAUGHT}, learned from {self.learned.shots.height} flows and found in another network",
            lead=(
                f"A library of {len(self.library)} threats did not hold the guessing of passwords at an MQTT broker. "
                f"{self.learned.shots.height} flows of another tool, seen in another network, taught it."
            ),
            made_by=f"kshot {__version__}, kshot demo. From a laboratory: real servers and tools, no real network.",
            known=Known(self.find.truth, before, TAUGHT),
        )

    def _scan(self, threats: list[Threat]) -> ScanResult:
        from kshot.stream.pipeline import ScanOptions, scan

        options = ScanOptions(false_alarm_rate=FALSE_ALARM_RATE)
        return scan(self.find.records, threats, reference=self.reference, options=options)

    def _meter(self, *names: str) -> Records:
        from kshot.stream.metering import MeterOptions
        from kshot.stream.pipeline import read_records

        with self._working("reading"):
            return read_records([CAPTURES / f"{name}.pcap.xz" for name in names], MeterOptions())

    def _with_truth(self, name: str, records: Records) -> _Capture:
        from kshot.report import read_truth, truth_of

        truth = truth_of(records.frame, read_truth(CAPTURES / f"{name}.truth.csv"))
        return _Capture(self._told[name], records, truth)

    @contextmanager
    def _working(self, what: str) -> Iterator[None]:
        """Show that something goes on, where somebody watches."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield

    def _head(self, title: str, command: str) -> None:
        self._console.print(f"\n[bold]{title}[/]")
        self._console.print(f"  [dim]$ {command}[/]", soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True)


def _tell(console: Console, report: Report, shots: int) -> None:
    """Print recall and false alarms before and after, and plainly where they fall short of the promise."""
    from rich.table import Table

    from kshot.report.markup import percent

    def cell(tally: Tally, count: int | None) -> str:
        return f"{count:,}  {percent((count or 0) / tally.flows):>7}" if count is not None and tally.flows else ""

    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for title in ("  threat", "made by"):
        table.add_column(title)
    for title in ("flows", "found before", "found after"):
        table.add_column(title, justify="right", no_wrap=True)
    for tally in report.tallies:
        if tally.threat:
            style = "bold green" if tally.threat == report.taught else None
            tools = ", ".join(tally.tools)
            cells = (f"  {tally.threat}", tools, f"{tally.flows:,}", cell(tally, tally.alarmed_before))
            table.add_row(*cells, cell(tally, tally.alarmed), style=style)
    benign = report.tallies[-1]
    cells = ("  false alarms", "users and machines", f"{benign.flows:,}", cell(benign, benign.alarmed_before))
    table.add_row(*cells, cell(benign, benign.alarmed), end_section=True)
    console.print(table)
    taught = next(tally for tally in report.tallies if tally.threat == report.taught)
    good = taught.share >= LEAST_RECALL and benign.share <= MOST_FALSE_ALARMS
    before = percent(taught.share_before or 0.0)
    verdict = f"{taught.threat}: from {before} to {percent(taught.share)} found, by {shots} examples."
    console.print(f"\n[bold green]{verdict}[/]" if good else f"\n{verdict}")
    if taught.share < LEAST_RECALL:
        console.print(f"[bold red]That falls short of the {percent(LEAST_RECALL)} that this should reach.[/]")
    if benign.share > MOST_FALSE_ALARMS:
        console.print(
            f"[bold yellow]{percent(benign.share)} of the benign flows alarmed, "
            f"more than the {percent(MOST_FALSE_ALARMS)} asked for.[/]"
        )


def _prepare(output: Path) -> None:
    """Make the folder before anything that takes time."""
    from kshot.store import output_error

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(output, error) from error


def _write(output: Path, report: Report) -> Path:
    """Write the page and copies of the captures; returns the page's absolute path."""
    from kshot.report import render_page
    from kshot.store import whole_file

    for source in sorted(CAPTURES.iterdir()):
        if source.suffix in (".xz", ".csv"):
            with whole_file(output / source.name) as whole:
                whole.path.write_bytes(source.read_bytes())
    page = output / "report.html"
    with whole_file(page) as whole:
        whole.path.write_text(render_page(report), encoding="utf-8")
    return page.resolve()
