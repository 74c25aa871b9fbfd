"""The part of the demo in which an invocation fails: the failure queue, the alarm and the runbook."""

import json
import textwrap

from context import Demo
from local import PROJECT

RUNBOOK = PROJECT / "docs" / "operations.md"
# A trail's name without a Region is ambiguous, so the function rejects it.
INVALID_EVENT = {"trail": "orders"}


def runbook_section(heading: str) -> str:
    """The text of a section of the runbook; empty if there is none."""
    _, _, rest = RUNBOOK.read_text().partition(f"\n### {heading}\n")
    return rest.partition("\n#")[0].strip()


def failure(demo: Demo) -> None:
    output, account, stack = demo.output, demo.account, demo.stack
    output.heading("An invocation fails: the function receives an invalid event")
    output.text(f"Another program invokes it asynchronously with {json.dumps(INVALID_EVENT)}.")
    account.invoke_async(stack["FunctionName"], INVALID_EVENT)
    failed = account.failed_events(stack["FailureQueueUrl"])
    output.check(
        "after Lambda's retries, the event is in the failure queue",
        [it["event"] for it in failed] == [INVALID_EVENT],
        failed,
    )
    output.check(
        "the message in the queue contains the function's error, which says that the Region is missing",
        len(failed) == 1 and "Region" in failed[0]["error"].get("errorMessage", ""),
        failed,
    )
    output.text("The stack's output ReadFailureQueue is the command that reads the queue:")
    output.quote(stack["ReadFailureQueue"])

    # The emulator counts the errors of synchronous calls only.
    answer = demo.invoke(INVALID_EVENT)
    output.check("a synchronous caller receives the same error", [answer] == [it["error"] for it in failed], answer)
    alarm = account.alarm("trailseal-invocations-failed")
    output.check("the alarm trailseal-invocations-failed is in the ALARM state", alarm["StateValue"] == "ALARM", alarm)
    messages = [json.loads(it["Message"]) for it in demo.alerts() if "AlarmName" in it["Message"]]
    descriptions = [
        it["AlarmDescription"]
        for it in messages
        if (it["AlarmName"], it["NewStateValue"]) == (alarm["AlarmName"], "ALARM")
    ]
    output.check("the alert topic receives the alarm's notification", len(descriptions) == 1, messages)
    for description in descriptions[:1]:
        output.quote(textwrap.fill(description, 100, break_on_hyphens=False))
    heading = "invocations-failed"
    output.check(
        f"the notification names an existing section of the runbook: {heading}",
        len(descriptions) == 1
        and f"{heading} in docs/operations.md" in descriptions[0]
        and runbook_section(heading) != "",
        descriptions,
    )
    output.quote(runbook_section(heading).partition("\n\n")[0])
