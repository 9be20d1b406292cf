# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write solar.csv: made-up hours of solar panels on a roof, the same in every run.

The power follows the sun smoothly, loses with the heat of the panels, and is cut off at the inverter's limit.
"""

import csv
import math
import random
from pathlib import Path

ROWS = 2500
INVERTER_LIMIT_KW = 7.5


def write(file: Path) -> None:
    """Write the panels' hours to a CSV file."""
    source = random.Random(17)
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(
            ["sun_elevation", "cloud_cover", "air_temperature", "wind_speed", "panel_age", "power_kw"]
        )
        for _ in range(ROWS):
            elevation = source.uniform(2, 62)
            clouds = source.betavariate(0.8, 1.2)
            temperature = 4 + 0.4 * elevation + source.gauss(0, 5)
            wind = source.gammavariate(2, 2)
            age = source.uniform(0, 15)
            irradiance = 1.1 * math.sin(math.radians(elevation)) ** 1.2 * (1 - 0.75 * clouds**3)
            panel_temperature = temperature + 30 * irradiance / (1 + 0.15 * wind)
            efficiency = (1 - 0.004 * (panel_temperature - 25)) * (1 - 0.006 * age)
            power = min(10 * irradiance * efficiency, INVERTER_LIMIT_KW) + source.gauss(0, 0.12)
            writer.writerow(
                [
                    f"{elevation:.1f}",
                    f"{clouds:.2f}",
                    f"{temperature:.1f}",
                    f"{wind:.1f}",
                    f"{age:.1f}",
                    f"{max(power, 0.0):.2f}",
                ]
            )


if __name__ == "__main__":
    write(Path(__file__).with_name("solar.csv"))
