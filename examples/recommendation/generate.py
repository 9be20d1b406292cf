# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``readings.csv``: made-up readings of a library's books, the same readings in every run.

Each reader prefers two genres and a certain length of books. Well-known books are read more often than
others by everybody, so that the most popular books are a baseline that is not easy to beat.
"""

import csv
import math
import random
from datetime import date, timedelta
from pathlib import Path

READERS = 450
BOOKS_PER_GENRE = 20
SEED = 20250117

GENRES = ("crime", "fantasy", "history", "poetry", "romance", "science", "travel")


def make_books(source: random.Random) -> dict[str, tuple[str, float, float]]:
    """Make the books: by title the genre, the length from 0 to 1, and how well-known the book is."""
    books = {}
    for genre in GENRES:
        for rank in range(BOOKS_PER_GENRE):
            books[f"{genre}-{rank + 1:02}"] = (genre, source.random(), 1 / (rank + 3))
    return books


def make_readings(
    source: random.Random, number: int, books: dict[str, tuple[str, float, float]]
) -> list[dict[str, object]]:
    """Make the readings of one reader, from the first to the last.

    Args:
        source: The random numbers.
        number: The reader's number.
        books: By title the genre, the length, and how well-known the book is.
    """
    first, second = source.sample(GENRES, 2)
    length = source.random()
    taste = dict.fromkeys(GENRES, 0.0) | {first: 3.0, second: 2.0}
    weights = {
        title: known * math.exp(taste[genre] - 3 * abs(book_length - length))
        for title, (genre, book_length, known) in books.items()
    }
    day = date(2024, 1, 1) + timedelta(days=source.randrange(200))
    readings: list[dict[str, object]] = []
    for _ in range(2 + int(source.expovariate(1 / 10))):
        again = readings and source.random() < 0.04
        title = (
            str(source.choice(readings)["book"])
            if again
            else source.choices(tuple(weights), weights=tuple(weights.values()))[0]
        )
        if not again and title in {reading["book"] for reading in readings}:
            continue
        day += timedelta(days=1 + int(source.expovariate(1 / 14)))
        liked = taste[books[title][0]] > 0
        minutes = int(source.lognormvariate(5.0 if liked else 4.0, 0.6)) + 5
        readings.append(
            {"reader": f"r{number:03}", "book": title, "minutes": minutes, "read_on": day.isoformat()}
        )
    return readings


def main() -> None:
    """Write the file next to this script."""
    source = random.Random(SEED)
    books = make_books(source)
    rows = [reading for number in range(READERS) for reading in make_readings(source, number + 1, books)]
    rows.sort(key=lambda row: str(row["read_on"]))
    with (Path(__file__).parent / "readings.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
