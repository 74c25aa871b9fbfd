"""The part of the demo in which something fails, and is found by the alarm's text and the runbook."""

import json
import textwrap

from account import Account
from local import PROJECT
from show import Show

RUNBOOK = PROJECT / "docs" / "operations.md"
# It cannot be said which trail this is without a Region, so the function fails on it.
UNREADABLE = {"trail": "orders"}


def section(heading: str) -> str:
    """That section of the runbook; empty if it has none."""
    _, _, rest = RUNBOOK.read_text().partition(f"\n### {heading}\n")
    return rest.partition("\n#")[0].strip()


def trouble(show: Show, account: Account, stack: dict[str, str], mailbox: str) -> None:
    show.scene("Something goes wrong: an event that the function cannot read")
    show.say(f"Somebody's tool invokes it with {json.dumps(UNREADABLE)}, and does not wait for an answer.")
    account.send(stack["FunctionName"], UNREADABLE)
    parked = account.parked(stack["FailureQueueUrl"])
    show.claim("after Lambda's retries it lies in the failure queue", [it["event"] for it in parked] == [UNREADABLE], parked)
    show.claim(
        "together with the function's error, which says what is missing",
        len(parked) == 1 and "Region" in parked[0]["error"].get("errorMessage", ""),
        parked,
    )
    show.say("This is how to look there, says the stack's output ReadFailureQueue:")
    show.quote(stack["ReadFailureQueue"])

    # The emulator counts the errors of calls that wait for an answer only.
    answer = account.invoke(stack["FunctionName"], UNREADABLE)
    show.claim("who waits for an answer is told the same", answer == parked[0]["error"] if parked else False, answer)
    alarm = account.alarm("trailseal-invocations-failed")
    show.claim("an alarm has gone off: trailseal-invocations-failed", alarm["StateValue"] == "ALARM", alarm)
    messages = [json.loads(it["Message"]) for it in account.alerts(mailbox) if "AlarmName" in it["Message"]]
    texts = [it["AlarmDescription"] for it in messages if it["AlarmName"] == alarm["AlarmName"]]
    show.claim("and came where the alerts come", len(texts) == 1, messages)
    for text in texts[:1]:
        show.quote(textwrap.fill(text, 100, break_on_hyphens=False))
    heading = "invocations-failed"
    show.claim(
        f"its text names the section of the runbook, which is there: {heading}",
        len(texts) == 1 and f"{heading} in docs/operations.md" in texts[0] and section(heading) != "",
        texts,
    )
    show.quote(section(heading).partition("\n\n")[0])
