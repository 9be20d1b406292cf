# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``tickets.csv``: made-up support tickets, the same tickets in every run.

Each message is made of sentences about the team's subject, with small talk and now and then a sentence about
another team's subject, so that no model can be perfect.
"""

import csv
import random
from pathlib import Path

ROWS = 1200
SEED = 20240611

SUBJECTS = {
    "billing": (
        "I was charged twice for {item}",
        "the invoice for {item} shows the wrong amount",
        "please refund the {amount} € for {item}",
        "my card was declined although it is valid",
        "the VAT number is missing on the receipt",
        "I cancelled the subscription and still pay {amount} €",
    ),
    "delivery": (
        "the parcel with {item} has not arrived",
        "the courier left {item} at the wrong address",
        "tracking has not changed for {amount} days",
        "{item} arrived broken",
        "please deliver {item} to the café next door",
        "half of the shipment is missing",
    ),
    "technical": (
        "the app crashes when I open {item}",
        "I cannot log in, the password reset mail never comes",
        "the page shows error {amount} when I search for {item}",
        "the firmware update of {item} stops at {amount} percent",
        "sync is naïve: it overwrites newer files",
        "the screen stays black after the update",
    ),
}
ITEMS = ("the lamp", "the kettle", "my order", "the desk", "the headphones", "the Müller chair", "the tablet")
OPENINGS = ("hello", "good morning", "hi there", "dear team", "")
ENDINGS = ("thanks", "please help", "kind regards", "this is urgent", "merci 🙂", "")
PLANS = {"billing": (5, 3, 1), "delivery": (4, 2, 1), "technical": (2, 3, 4)}
"""How often a team's customers have the plan free, basic and business."""


def make_sentence(source: random.Random, team: str) -> str:
    """Make a sentence about a team's subject."""
    return source.choice(SUBJECTS[team]).format(item=source.choice(ITEMS), amount=source.randint(2, 99))


def make_ticket(source: random.Random) -> dict[str, object]:
    """Make one ticket: the message, the customer's plan, attachments, and the team that handled it."""
    team = source.choice(tuple(SUBJECTS))
    subjects = [team] * source.choice((1, 1, 2, 3))
    if source.random() < 0.25:
        subjects.append(source.choice(tuple(SUBJECTS)))
    source.shuffle(subjects)
    sentences = [make_sentence(source, subject) for subject in subjects]
    parts = [source.choice(OPENINGS), *sentences, source.choice(ENDINGS)]
    attachments = source.choice((1, 2, 3)) if source.random() < (0.5 if team == "technical" else 0.1) else 0
    return {
        "message": ". ".join(part[:1].upper() + part[1:] for part in parts if part) + ".",
        "plan": source.choices(("free", "basic", "business"), weights=PLANS[team])[0],
        "attachments": attachments,
        "team": team,
    }


def main() -> None:
    """Write the file next to this script."""
    source = random.Random(SEED)
    rows = [make_ticket(source) for _ in range(ROWS)]
    with (Path(__file__).parent / "tickets.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
