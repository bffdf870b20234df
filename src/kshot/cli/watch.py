"""`kshot watch`: follows logs, dropped captures or standard input, and keeps alerts as they grow."""

from __future__ import annotations

import datetime
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags, live
from kshot.cli.config import apply_config

if TYPE_CHECKING:
    from kshot.records.kept import KeptAlert
    from kshot.records.streams import Piece
    from kshot.sources.following import FollowedSource
    from kshot.store.alerts import AlertStore
    from kshot.stream.batching import PieceQueue
    from kshot.stream.watching import Watch

_SOURCE, _OPERATION = "Source (one of these)", "Operation"

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="KSHOT_STORE",
        help="Where alerts are kept: sqlite:///FILE or postgresql://...; default: a file in KSHOT_HOME.",
        rich_help_panel=_OPERATION,
    ),
]


def watch(
    context: typer.Context,
    stdin: Annotated[
        str | None, typer.Argument(metavar="[-]", help="Follow JSON lines on standard input.", show_default=False)
    ] = None,
    zeek: Annotated[
        Path | None,
        typer.Option("--zeek", metavar="DIR", help="Follow the logs that Zeek writes here.", rich_help_panel=_SOURCE),
    ] = None,
    eve: Annotated[
        str | None,
        typer.Option(
            "--eve",
            metavar="PATH",
            help="Follow Suricata's eve.json or eve.*.json, or listen on unix_stream:PATH or unix_dgram:PATH.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    captures: Annotated[
        Path | None,
        typer.Option("--captures", metavar="DIR", help="Read captures dropped here.", rich_help_panel=_SOURCE),
    ] = None,
    interface: live.Interface = None,
    ring: live.Ring = 128,
    fanout_group: live.FanoutGroup = None,
    no_early: live.NoEarly = False,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            is_eager=True,
            callback=apply_config,
            help="Take what no flag says from this file (kshot config check FILE); read anew on HUP.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    threats: flags.Threats = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="FILE|NAME",
            help="Benign records of this network (files may be repeated), or what kshot reference build learned.",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            "--segment",
            metavar="REFERENCE[=NET,...]",
            help="Hosts in these networks against a reference of their own: servers=10.1.0.0/16 (may be repeated).",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = None,
    false_alarm_rate: flags.FalseAlarmRate = None,
    alerts_per_day: Annotated[
        float | None,
        typer.Option(
            "--alerts-per-day",
            metavar="N",
            min=0.1,
            help="Instead: how many alerts a day there are to be, held while traffic changes; needs --reference.",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Append each new alert as a line of JSON, beside keeping it in the store.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option("--stats", metavar="FILE", help="Write counters here as JSON.", rich_help_panel=_OPERATION),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", min=0.0, help="Stop after S seconds.", rich_help_panel=_OPERATION),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="[HOST:]PORT",
            help="Serve /metrics (Prometheus) and /healthz there; HOST is 127.0.0.1 unless told.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    store: Store = None,
    keep_alerts: Annotated[
        str | None,
        typer.Option(
            "--keep-alerts",
            metavar="LENGTH",
            help="Delete closed alerts that ended so long ago, such as 90d; default: none.",
            rich_help_panel=_OPERATION,
        ),
    ] = None,
    batch_seconds: Annotated[
        float,
        typer.Option(
            "--batch-seconds", metavar="S", min=0.01, help="Judge what came in S seconds.", rich_help_panel=_OPERATION
        ),
    ] = 1.0,
    alerts_per_hour: Annotated[
        int,
        typer.Option(
            "--alerts-per-hour",
            metavar="N",
            min=1,
            help="Beyond N new alerts an hour, further parties of a threat share one.",
            rich_help_panel=_OPERATION,
        ),
    ] = 1_000,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
) -> int:
    """Find threats in what goes on now; alerts grow while their parties go on, and are kept in a store.

    It prints "ready" when it listens, logs JSON lines on stderr, and stops gracefully on INT and TERM. Started again
    it goes on where it stopped, even if it was killed. Look at what it found with kshot alerts.

    [bold]Examples[/]

    kshot watch --interface eth0 --reference quiet-week/

    kshot watch --zeek /opt/zeek/logs/current --reference quiet-week/

    kshot watch --zeek /opt/zeek/logs/current --reference office --segment servers=10.1.0.0/16,fd00:1::/32

    kshot watch --captures /var/spool/pcap --stats /run/kshot.json --metrics 9109

    tail -F eve.json | kshot watch -
    """
    from kshot.errors import UserError

    if [stdin, zeek, eve, captures, interface].count(None) != 4 or stdin not in (None, "-"):
        raise UserError(
            "give one of --interface IF, --zeek DIR, --eve PATH, --captures DIR, or - for JSON lines on stdin"
        )
    # Before anything starts threads, which would keep the rights that are dropped here.
    packets = live.packet_socket(interface) if interface is not None else None

    from kshot.cli.metrics import address_of, side_jobs
    from kshot.cli.reloading import Reload, on_hangup
    from kshot.cli.retention import retention
    from kshot.cli.teaching import Lessons
    from kshot.features import columns_for_tier
    from kshot.records.columns import Tier
    from kshot.sources.eve_socket import EveSocket
    from kshot.store import kshot_home
    from kshot.store.alerts import AlertStore
    from kshot.store.database import default_url
    from kshot.stream.growing import growing_for
    from kshot.stream.metering import MeterOptions
    from kshot.stream.steering import Steering
    from kshot.stream.warm import made_flows
    from kshot.stream.watching import Watch, WatchOptions

    if false_alarm_rate is not None and not 0 < false_alarm_rate < 1:
        raise UserError(f"--false-alarm-rate {false_alarm_rate:g} is not between 0 and 1")
    if alerts_per_day is not None and false_alarm_rate is not None:
        raise UserError("--false-alarm-rate and --alerts-per-day say the same thing twice; give one")
    if alerts_per_day is not None and not reference:
        raise UserError("--alerts-per-day needs --reference: nothing else tells what a day is here")
    meter_options = MeterOptions(idle_timeout, active_timeout, not no_tunnels)
    rest: Callable[[], Iterable[Piece]] = tuple
    queue: PieceQueue | None = None
    source: FollowedSource
    if interface is not None and packets is not None:
        from kshot.sources.interface import LiveInterface
        from kshot.stream.batching import PieceQueue
        from kshot.stream.followed_interface import FollowedInterface
        from kshot.stream.shedding import without_lone

        heard = LiveInterface(interface, packets, ring << 20, fanout_group)
        source = followed = FollowedInterface(heard, meter_options, early=not no_early)
        rest, queue = followed.rest, PieceQueue(policy="shed", thin=without_lone)
    else:
        source = _source(zeek, eve, captures, meter_options)
        rest = source.rest if isinstance(source, EveSocket) else tuple
    address = address_of(metrics) if metrics is not None else None
    kept = AlertStore(store or default_url(kshot_home()))
    try:
        lessons = Lessons(
            flags.comma_list(threats), reference, kept, meter_options, _log,
            segment=segment, false_alarm_rate=false_alarm_rate, alerts_per_day=alerts_per_day,
        )  # fmt: skip
        sizes = lessons.sizes if alerts_per_day else None
        steering = Steering(_log, alerts_a_day=alerts_per_day, sizes=sizes, segments=lessons.segments)
        options = WatchOptions(batch_seconds=batch_seconds, growing=growing_for(alerts_per_hour, alerts_per_day))
        with _alert_lines(output, kept) as on_alert:
            columns = None if stdin else columns_for_tier(Tier.ZEEK if zeek or eve else Tier.PACKETS)
            watch = Watch(
                source,
                kept,
                lessons.fit,
                log=_log,
                version=lessons.version,
                on_alert=on_alert,
                options=options,
                columns=columns,
                steering=steering,
                queue=queue,
                rest=rest,
                rehearsal=made_flows() if interface is not None else None,
            )
            watch.prepare()
            with (
                _signals(watch),
                side_jobs(watch.stats, stats, address, _log),
                retention(kept, keep_alerts, _log),
                on_hangup(Reload(context, config_file, lessons, _log)),
            ):
                print("ready", flush=True)  # noqa: T201
                watch.run(duration)
        _log("stopped", **{name: watch.stats()[name] for name in ("records", "alerts", "flows_shed")})
    finally:
        kept.close()
    return 0


def _source(zeek: Path | None, eve: str | None, captures: Path | None, meter: Any) -> FollowedSource:
    """The source that was asked for, of those that are no interface."""
    from kshot.errors import InputError
    from kshot.sources.capture_folder import CaptureFolder
    from kshot.sources.followed_eve import followed_eve
    from kshot.sources.followed_logs import ZeekFolder
    from kshot.sources.standard_input import StandardInput
    from kshot.stream.followed_captures import FollowedCaptures

    for folder in (zeek, captures):
        if folder is not None and not folder.is_dir():
            raise InputError(str(folder), "is no folder", "check the path")
    if zeek is not None:
        return ZeekFolder(zeek)
    if eve is not None:
        return followed_eve(eve)
    if captures is not None:
        return FollowedCaptures(CaptureFolder(captures), meter)
    return StandardInput()


def _log(event: str, **facts: Any) -> None:
    """One line of JSON on stderr."""
    from kshot.cli.clean import clean_json

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = clean_json(json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False, default=str))
    try:
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        pass  # a log that nobody reads any more must not end the watch


@contextmanager
def _alert_lines(output: Path | None, kept: AlertStore) -> Iterator[Callable[[KeptAlert], None]]:
    """What tells of new alerts that are not suppressed: on stderr, and as lines appended to a file."""
    from kshot.cli.alerts import as_json
    from kshot.errors import OutputError
    from kshot.store import output_error
    from kshot.store.alerts import suppressor
    from kshot.store.suppressions import SuppressionStore

    suppressions = SuppressionStore(kept)

    file = None
    if output is not None:
        try:
            file = output.open("a", encoding="utf-8")
        except OSError as error:
            raise output_error(output, error) from error

    def tell(alert: KeptAlert) -> None:
        try:
            if suppressor(alert, suppressions.all()) is not None:
                return
        except OutputError as error:  # rather told twice than not at all
            _log("suppressions_unread", why=str(error))
        where = {"segment": alert.segment} if alert.segment else {}
        _log("alert", id=alert.id, threat=alert.threat, originator=alert.originator, responder=alert.responder, **where)
        if file is not None:
            try:
                file.write(as_json(alert) + "\n")
                file.flush()
            except OSError as error:
                _log("output_failed", why=str(output_error(output or "", error)))

    try:
        yield tell
    finally:
        if file is not None:
            file.close()


@contextmanager
def _signals(watch: Watch) -> Iterator[None]:
    """INT and TERM stop the watch after the batch at hand."""
    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, lambda *_: watch.stop())
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
