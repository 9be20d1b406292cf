# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write ``loans.csv``: made-up consumer loans, the same loans in every run.

The file has no real applicant. The probability of default follows the rule below with noise, so that no model
can be perfect.
"""

import csv
import math
import random
from datetime import date, timedelta
from pathlib import Path

ROWS = 2400
SEED = 20240229

PURPOSES = {"car": 0.0, "education": 0.3, "furniture": 0.1, "holiday": 0.8, "renovation": -0.3}
HOUSING = {"owner": -0.5, "rent": 0.3, "with family": 0.0}


def make_loan(source: random.Random, day: date) -> dict[str, object]:
    """Make one loan: the application, and whether the loan defaulted."""
    age = min(80, 18 + int(source.gammavariate(4, 6)))
    income = round(source.lognormvariate(7.8, 0.4), 2)
    amount = round(min(60_000, source.lognormvariate(8.9, 0.7)), 2)
    months = source.choice((12, 24, 36, 48, 60))
    years = round(min(age - 17, source.expovariate(1 / 6)), 1)
    purpose = source.choice(tuple(PURPOSES))
    housing = source.choices(tuple(HOUSING), weights=(4, 5, 2))[0]
    customer = source.random() < 0.45
    burden = amount / months / income
    risk = (
        -0.6
        + 6 * (burden - 0.15)
        - 0.12 * min(years, 10)
        + PURPOSES[purpose]
        + HOUSING[housing]
        - 0.7 * customer
    )
    risk += 0.03 * max(0, 30 - age) + source.gauss(0, 0.5)
    return {
        "applied_on": day.isoformat(),
        "age": age,
        "monthly_income": income if source.random() > 0.06 else "",
        "loan_amount": amount,
        "term_months": months,
        "employment_years": years,
        "purpose": purpose,
        "housing": housing if source.random() > 0.04 else "",
        "existing_customer": str(customer).lower(),
        "default": "yes" if source.random() < 1 / (1 + math.exp(-1.6 * risk)) else "no",
    }


def main() -> None:
    """Write the file next to this script."""
    source = random.Random(SEED)
    day = date(2021, 1, 4)
    rows = []
    for _ in range(ROWS):
        day += timedelta(days=source.choice((0, 0, 1)))
        rows.append(make_loan(source, day))
    with (Path(__file__).parent / "loans.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
