"""How far flows equal NFStream's, conversations tshark's, packets libpcap's; and why not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.quirks import quirks_of

IDLE_SECONDS = 120
NFSTREAM_TO_CSV = """
import sys
from nfstream import NFStreamer
NFStreamer(source=sys.argv[1], decode_tunnels=False, n_dissections=0, statistical_analysis=True, splt_analysis=0,
           idle_timeout=120, active_timeout=1800, n_meters=1).to_csv(sys.argv[2])
"""
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
KEY = ["low", "high", "low_port", "high_port", "protocol", "vlan"]
COUNTS = [f"{side}_{what}" for side in ("low", "high") for what in ("packets", "bytes", *FLAGS)]
LEAST = ["low_size_min", "high_size_min"]
GREATEST = ["low_size_max", "high_size_max"]
FIELDS = [*COUNTS, *LEAST, *GREATEST]
"""The integer fields compared, by endpoint, as the two tools name originators differently."""


def our_flows(capture: Path, *, tunnels: bool) -> tuple[pl.DataFrame, int]:
    """All flows of `capture` by our meter, and the packets read."""
    from kshot.flows import FlowMeter
    from kshot.sources.pcap import CaptureReader

    meter = FlowMeter(idle_timeout_seconds=IDLE_SECONDS, tunnels=tunnels)
    keep = [
        *("first_time", "last_time", "originator", "responder", "orig_port", "resp_port", "protocol", "vlan"),
        *("tunnel", "end_reason", "orig_packets", "resp_packets", "orig_wire_bytes", "resp_wire_bytes"),
        *(f"{side}_size_{end}_bytes" for side in ("orig", "resp") for end in ("min", "max")),
        *(f"{side}_{flag}_packets" for side in ("orig", "resp") for flag in FLAGS),
    ]
    parts = []
    with CaptureReader(capture) as reader:
        for batch in reader:
            meter.push(batch)
            parts += [frame.select(keep) for frame in meter.drain()]
        parts += [frame.select(keep) for frame in meter.finish()]
        return pl.concat(parts), reader.packets_read


def nfstream_flows(capture: Path) -> pl.DataFrame:
    """All flows of `capture` by NFStream, in the columns of ours."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "flows.csv")
        subprocess.run(
            [sys.executable, "-c", NFSTREAM_TO_CSV, str(capture), str(table)], check=True, capture_output=True
        )
        raw = pl.read_csv(table, infer_schema_length=10_000)
    sides = (("orig", "src2dst"), ("resp", "dst2src"))
    return raw.select(
        pl.from_epoch("bidirectional_first_seen_ms", "ms").dt.replace_time_zone("UTC").alias("first_time"),
        pl.from_epoch("bidirectional_last_seen_ms", "ms").dt.replace_time_zone("UTC").alias("last_time"),
        pl.col("src_ip").alias("originator"),
        pl.col("dst_ip").alias("responder"),
        pl.col("src_port").alias("orig_port"),
        pl.col("dst_port").alias("resp_port"),
        "protocol",
        pl.col("vlan_id").alias("vlan"),
        *(pl.col(f"{theirs}_packets").alias(f"{ours}_packets") for ours, theirs in sides),
        *(pl.col(f"{theirs}_bytes").alias(f"{ours}_wire_bytes") for ours, theirs in sides),
        *(
            pl.col(f"{theirs}_{end}_ps").alias(f"{ours}_size_{end}_bytes")
            for ours, theirs in sides
            for end in ("min", "max")
        ),
        *(
            pl.col(f"{theirs}_{flag}_packets").alias(f"{ours}_{flag}_packets")
            for ours, theirs in sides
            for flag in FLAGS
        ),
    )


def by_endpoint(flows: pl.DataFrame) -> pl.DataFrame:
    """Columns by lower and higher endpoint instead of by who opened the flow."""
    portless = ~pl.col("protocol").is_in([6, 17])
    flows = flows.with_columns(
        # Of ICMP our port columns hold type and code, of SCTP its ports; NFStream's hold nothing.
        *(
            pl.when(portless).then(0).otherwise(pl.col(f"{side}_port")).cast(pl.Int64).alias(f"{side}_port")
            for side in ("orig", "resp")
        ),
        pl.col("protocol").cast(pl.Int64),
        # Of two tags NFStream keeps the inner one.
        pl.col("vlan").cast(pl.Int64) % 4096,
    )
    swap = (pl.col("originator") > pl.col("responder")) | (
        (pl.col("originator") == pl.col("responder")) & (pl.col("orig_port") > pl.col("resp_port"))
    )

    def pick(low: str, high: str, name: str) -> list[pl.Expr]:
        return [
            pl.when(swap).then(pl.col(high)).otherwise(pl.col(low)).alias(f"low{name}"),
            pl.when(swap).then(pl.col(low)).otherwise(pl.col(high)).alias(f"high{name}"),
        ]

    columns = [
        *pick("originator", "responder", ""),
        *pick("orig_port", "resp_port", "_port"),
        *pick("orig_packets", "resp_packets", "_packets"),
        *pick("orig_wire_bytes", "resp_wire_bytes", "_bytes"),
    ]
    for end in ("min", "max"):
        columns += pick(f"orig_size_{end}_bytes", f"resp_size_{end}_bytes", f"_size_{end}")
    for flag in FLAGS:
        columns += pick(f"orig_{flag}_packets", f"resp_{flag}_packets", f"_{flag}")
    flows = flows.select("first_time", "last_time", "protocol", "vlan", *columns)
    return flows.with_columns(
        pl.col(FIELDS).fill_null(0).fill_nan(0).cast(pl.Int64),
        pl.col("first_time", "last_time").dt.cast_time_unit("ms"),
    )


def joined_by_idle_gaps(flows: pl.DataFrame) -> pl.DataFrame:
    """Join flows of one 5-tuple whose gap is below the idle timeout: NFStream does not end a flow at FIN or RST."""
    gap = pl.col("first_time") - pl.col("last_time").cum_max().shift(1).over(KEY)
    numbered = flows.sort("first_time").with_columns(
        (gap >= pl.duration(seconds=IDLE_SECONDS)).fill_null(False).alias("new")
    )
    numbered = numbered.with_columns(pl.col("new").cast(pl.Int32).cum_sum().over(KEY).alias("part"))
    return numbered.group_by(*KEY, "part").agg(
        pl.col("first_time").min(),
        pl.col("last_time").max(),
        *(pl.col(name).sum() for name in COUNTS),
        *(pl.col(name).filter(pl.col(name) > 0).min().fill_null(0) for name in LEAST),
        *(pl.col(name).max() for name in GREATEST),
    )


def compare_with_nfstream(capture: Path) -> list[str]:
    """Lines of the report."""
    raw, _ = our_flows(capture, tunnels=False)
    ours, theirs = by_endpoint(raw), by_endpoint(nfstream_flows(capture))
    joined_ours, joined_theirs = joined_by_idle_gaps(ours), joined_by_idle_gaps(theirs)
    causes = quirks_of(capture, for_nfstream=True)
    both = joined_ours.join(joined_theirs, on=[*KEY, "part"], how="full", suffix="_nf", coalesce=True)
    same = pl.all_horizontal([(pl.col(name) == pl.col(f"{name}_nf")).fill_null(False) for name in FIELDS])
    both = both.with_columns(
        same.alias("same"),
        pl.when(pl.col("low_packets_nf").is_null())
        .then(pl.lit("only kshot has it"))
        .when(pl.col("low_packets").is_null())
        .then(pl.lit("only NFStream has it"))
        .otherwise(pl.lit("fields differ"))
        .alias("how"),
    )
    pairs = pl.concat_str([pl.min_horizontal("low", "high"), pl.max_horizontal("low", "high")], separator=" ")
    both = both.with_columns(pairs.alias("pair")).join(causes, on="pair", how="left")
    both = both.with_columns(pl.col("cause").fill_null("other"))
    agreeing = both.filter((pl.col("cause") == "other") | pl.col("same"))
    total, equal = len(both), int(both["same"].sum())
    lines = [
        "### Flows against NFStream 6.6 (tunnels off on both sides, idle 120 s, active 1,800 s)",
        "",
        f"{len(raw):,} flows of ours, {len(theirs):,} of NFStream's. Ours end at FIN and RST; joined where the gap is "
        f"below the idle timeout they are {len(joined_ours):,} and {len(joined_theirs):,}. Equal in all {len(FIELDS)} "
        f"integer fields (packets, bytes, eight TCP flags, least and greatest size, by direction): "
        f"**{equal:,} of {total:,} = {equal / total:.4%}**; where the policies agree "
        f"**{equal:,} of {len(agreeing):,} = {equal / len(agreeing):.4%}**.",
        "",
        "| flows that differ | how | why |",
        "|---|---|---|",
    ]
    table = both.filter(~pl.col("same")).group_by("cause", "how").len().sort("len", descending=True)
    lines += [f"| {count:,} | {how} | {cause} |" for cause, how, count in table.iter_rows()]
    odd = both.filter(~pl.col("same") & (pl.col("cause") == "other")).sort("low", "high", "low_port").head(8)
    for row in odd.iter_rows(named=True):
        differing = [f"{n} {row[n]} / {row[f'{n}_nf']}" for n in FIELDS if row[n] != row[f"{n}_nf"]]
        place = f"{row['low']}:{row['low_port']} {row['high']}:{row['high_port']} {row['protocol']} vlan {row['vlan']}"
        print(f"unexplained: {place} ({row['how']}): {', '.join(differing[:6])}", file=sys.stderr)
    return [*lines, ""]


def tshark_conversations(capture: Path) -> pl.DataFrame:
    """Frames by TCP and UDP conversation and direction, from `tshark -z conv`."""
    command = ["tshark", "-n", "-r", str(capture), "-q", "-z", "conv,tcp", "-z", "conv,udp"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows, protocol = [], 0
    for line in text.splitlines():
        if line.startswith(("TCP Conv", "UDP Conv")):
            protocol = 6 if line.startswith("TCP") else 17
        elif "<->" in line:
            left, right = line.split("<->")
            words = right.split()
            (low, low_port), (high, high_port) = left.strip().rsplit(":", 1), words[0].rsplit(":", 1)
            # After the address: frames, bytes and their unit from right to left, then from left to right.
            rows.append((low, int(low_port), high, int(high_port), protocol, int(words[4]), int(words[1])))
    names = ["originator", "orig_port", "responder", "resp_port", "protocol", "orig_packets", "resp_packets"]
    return pl.DataFrame(rows, schema=names, orient="row")


def by_conversation(flows: pl.DataFrame) -> pl.DataFrame:
    """Packets by 5-tuple, lower endpoint first."""
    flows = flows.filter(pl.col("protocol").is_in([6, 17])).with_columns(
        pl.col("orig_port", "resp_port").cast(pl.Int64)
    )
    low_first = (pl.col("originator") < pl.col("responder")) | (
        (pl.col("originator") == pl.col("responder")) & (pl.col("orig_port") <= pl.col("resp_port"))
    )

    def pick(first: str, second: str) -> pl.Expr:
        return pl.when(low_first).then(pl.col(first)).otherwise(pl.col(second))

    return (
        flows.select(
            pick("originator", "responder").alias("low"),
            pick("responder", "originator").alias("high"),
            pick("orig_port", "resp_port").alias("low_port"),
            pick("resp_port", "orig_port").alias("high_port"),
            pl.col("protocol").cast(pl.Int64),
            pick("orig_packets", "resp_packets").cast(pl.Int64).alias("forth"),
            pick("resp_packets", "orig_packets").cast(pl.Int64).alias("back"),
        )
        .group_by("low", "high", "low_port", "high_port", "protocol")
        .agg(pl.col("forth", "back").sum())
    )


def compare_with_tshark(capture: Path) -> list[str]:
    """Lines of the report."""
    if shutil.which("tshark") is None:
        return ["### Conversations against tshark", "", "skipped: tshark is not installed", ""]
    raw, _ = our_flows(capture, tunnels=True)
    ours, theirs = by_conversation(raw), by_conversation(tshark_conversations(capture))
    keys = ["low", "high", "low_port", "high_port", "protocol"]
    both = ours.join(theirs, on=keys, how="full", suffix="_ts", coalesce=True)
    both = both.with_columns(
        ((pl.col("forth") == pl.col("forth_ts")) & (pl.col("back") == pl.col("back_ts")))
        .fill_null(False)
        .alias("same"),
        pl.when(pl.col("forth_ts").is_null())
        .then(pl.lit("only kshot has it"))
        .when(pl.col("forth").is_null())
        .then(pl.lit("only tshark has it"))
        .otherwise(pl.lit("packets differ"))
        .alias("how"),
    )
    pair = pl.concat_str([pl.min_horizontal("low", "high"), pl.max_horizontal("low", "high")], separator=" ")
    both = both.with_columns(pair.alias("pair")).join(quirks_of(capture, for_nfstream=False), on="pair", how="left")
    both = both.with_columns(pl.col("cause").fill_null("other"))
    total, equal = len(both), int(both["same"].sum())
    lines = [
        "### Conversations against tshark (`-z conv,tcp -z conv,udp`, tunnels unwrapped, packets by direction)",
        "",
        f"**{equal:,} of {total:,} equal = {equal / total:.4%}**.",
        "",
        "| conversations that differ | how | why |",
        "|---|---|---|",
    ]
    table = both.filter(~pl.col("same")).group_by("cause", "how").len().sort("len", descending=True)
    lines += [f"| {count:,} | {how} | {cause} |" for cause, how, count in table.iter_rows()]
    for row in both.filter(~pl.col("same") & (pl.col("cause") == "other")).sort("low").head(8).iter_rows(named=True):
        print(f"unexplained conversation: {row}", file=sys.stderr)
    return [*lines, ""]


def compare_with_libpcap(capture: Path) -> list[str]:
    """Lines of the report."""
    if shutil.which("tcpdump") is None:
        return ["### Packets against libpcap", "", "skipped: tcpdump is not installed", ""]
    done = subprocess.run(["tcpdump", "-r", str(capture), "--count"], check=True, capture_output=True, text=True)
    counted = int(done.stdout.split()[0])  # "568092 packets"
    _, read = our_flows(capture, tunnels=True)
    return [
        "### Packets against libpcap",
        "",
        f"read {read:,}, libpcap {counted:,}: {'equal' if read == counted else 'NOT EQUAL'}",
        "",
    ]


def agreement_report(capture: Path) -> list[str]:
    """All three comparisons on one capture."""
    import importlib.util

    lines = compare_with_libpcap(capture) + compare_with_tshark(capture)
    if importlib.util.find_spec("nfstream") is None:
        return [*lines, "### Flows against NFStream", "", "skipped: pip install 'kshot[bench]'", ""]
    return lines + compare_with_nfstream(capture)
