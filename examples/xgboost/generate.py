# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``deliveries.csv``: made-up deliveries by bicycle, the same deliveries in every run.

The minutes follow the rule below with noise. The rule has steps and products, which trees find and a linear
model does not.
"""

import csv
import random
from pathlib import Path

ROWS = 2500
SEED = 20240301

WEATHER = {"dry": 1.0, "rain": 1.25, "snow": 1.7}


def make_delivery(source: random.Random) -> dict[str, object]:
    """Make one delivery, and the minutes that it took."""
    distance = round(source.gammavariate(2.0, 1.6) + 0.2, 2)
    hour = source.choices(range(9, 23), weights=(1, 1, 2, 5, 5, 2, 1, 1, 2, 4, 6, 6, 4, 2))[0]
    items = 1 + int(source.expovariate(0.6))
    rating = round(min(5.0, source.gauss(4.3, 0.4)), 2)
    weather = source.choices(tuple(WEATHER), weights=(7, 3, 1))[0]
    electric = source.random() < 0.4
    is_rush_hour = hour in (12, 13, 18, 19, 20)
    speed = 0.32 if electric else 0.24
    minutes = 6 + distance / speed * WEATHER[weather] + 1.5 * items + (9 if is_rush_hour else 0)
    minutes -= 4 * max(0.0, rating - 4.5)
    return {
        "distance_km": distance,
        "hour": hour,
        "items": items,
        # The rating of a new courier is unknown, and new couriers are slower.
        "courier_rating": rating if (is_known := source.random() > 0.15) else "",
        "weather": weather,
        "electric": str(electric).lower(),
        "minutes": round((minutes if is_known else 1.2 * minutes) * source.lognormvariate(0.0, 0.08), 1),
    }


def main() -> None:
    """Write the file next to this script."""
    source = random.Random(SEED)
    rows = [make_delivery(source) for _ in range(ROWS)]
    with (Path(__file__).parent / "deliveries.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
