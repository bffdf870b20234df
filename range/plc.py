"""A Modbus/TCP server for the range (pymodbus): a controller with coils, inputs and registers."""

from __future__ import annotations

import sys

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartTcpServer


def main() -> None:
    """plc.py PORT: units 1 to 3."""

    def block() -> ModbusSequentialDataBlock:
        return ModbusSequentialDataBlock(1, [(number * 37) % 1000 for number in range(1000)])

    devices = {
        unit: ModbusDeviceContext(
            di=ModbusSequentialDataBlock(1, [number % 3 == 0 for number in range(1000)]),
            co=ModbusSequentialDataBlock(1, [number % 2 == 0 for number in range(1000)]),
            hr=block(),
            ir=block(),
        )
        for unit in (1, 2, 3)
    }
    StartTcpServer(ModbusServerContext(devices=devices, single=False), address=("0.0.0.0", int(sys.argv[1])))


if __name__ == "__main__":
    main()
