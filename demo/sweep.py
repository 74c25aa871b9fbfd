"""The part of the demo in which a scheduled sweep finds a trail whose event was lost."""

import json

from account import OTHER_REGION
from answers import changes, outcomes
from context import Demo


def sweep(demo: Demo) -> None:
    output, account = demo.output, demo.account
    output.heading("A sweep of all trails finds a trail whose event was lost")
    # In the function's own Region, because the emulator's ListTrails returns only that Region's trails.
    missed = account.make_trail("missed", "logs-far")
    output.text(f"The new trail missed delivers to a bucket in {OTHER_REGION}. Its CreateTrail event was lost.")
    every_trail = [*demo.trails.values(), missed]
    before = account.state(every_trail)
    answer = demo.invoke({"sweep": {}})
    output.answer(answer)
    after = account.state(every_trail)
    remote_key = account.trail(demo.trails["remote"]).get("KmsKeyId")
    output.check(
        "the sweep checks every trail and remediates only missed",
        sorted(outcomes(answer)) == ["compliant"] * len(demo.trails) + ["remediated"],
        json.dumps(answer, indent=1),
    )
    output.check(
        "missed uses the same key as remote, whose bucket is in the same Region",
        bool(remote_key) and after["trails"][missed].get("KmsKeyId") == remote_key,
        changes(before, after),
    )
    output.check(
        "no key and no other trail has changed",
        before["keys"] == after["keys"]
        and all(before["trails"][arn] == after["trails"][arn] for arn in demo.trails.values()),
        changes(before, after),
    )
    alerts = demo.alerts()
    output.check(
        "trailseal sent one digest, only about missed",
        len(alerts) == 1 and missed in alerts[0]["Message"] and demo.trails["orders"] not in alerts[0]["Message"],
        [alert.get("Subject") for alert in alerts],
    )
    again = demo.invoke({"sweep": {}})
    output.check(
        "a second sweep finds every trail compliant, changes nothing, and sends no alert",
        outcomes(again) == ["compliant"] * len(every_trail)
        and account.state(every_trail) == after
        and demo.alerts() == [],
        json.dumps(again, indent=1),
    )
