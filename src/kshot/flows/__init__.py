"""The meter: from packets to bidirectional flows."""

from kshot.flows.meter import FlowMeter, MeterCounters

__all__ = ["FlowMeter", "MeterCounters"]
