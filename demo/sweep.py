"""The part of the demo in which every trail is looked at, wherever it is."""

import json

from account import ELSEWHERE, Account
from look import changes, outcomes
from show import Show


def sweep(show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str) -> None:
    show.scene("A trail that no event told of, and a sweep over every trail")
    # In the function's own Region: the emulator's ListTrails shows that one only, where AWS's shows all.
    unheard = account.make_trail("unheard", "logs-far")
    show.say(f"unheard has its bucket in {ELSEWHERE}, and the event of its creation got lost.")
    everything = [*trails.values(), unheard]
    before = account.state(everything)
    answer = account.invoke(stack["FunctionName"], {"sweep": {}})
    show.answer(answer)
    after = account.state(everything)
    far_away = account.trail(trails["far-away"]).get("KmsKeyId")
    show.claim(
        "the sweep found every trail, and mended the one that was not well",
        sorted(outcomes(answer)) == ["compliant"] * len(trails) + ["remediated"],
        json.dumps(answer, indent=1),
    )
    show.claim(
        "unheard has the key of its bucket's Region, which far-away has, too",
        bool(far_away) and after["trails"][unheard].get("KmsKeyId") == far_away,
        changes(before, after),
    )
    show.claim(
        "no key and no other trail has changed",
        before["keys"] == after["keys"]
        and all(before["trails"][arn] == after["trails"][arn] for arn in trails.values()),
        changes(before, after),
    )
    alerts = account.alerts(mailbox)
    show.claim(
        "there is one digest, about unheard alone",
        len(alerts) == 1 and unheard in alerts[0]["Message"] and trails["orders"] not in alerts[0]["Message"],
        [alert.get("Subject") for alert in alerts],
    )
    again = account.invoke(stack["FunctionName"], {"sweep": {}})
    show.claim(
        "a second sweep finds every trail well, changes nothing and sends nothing",
        outcomes(again) == ["compliant"] * len(everything)
        and account.state(everything) == after
        and account.alerts(mailbox) == [],
        json.dumps(again, indent=1),
    )
