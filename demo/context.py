"""What all parts of the demo share."""

from dataclasses import dataclass

from account import Account
from output import Output


@dataclass
class Demo:
    output: Output
    account: Account
    # The trails' ARNs by name.
    trails: dict[str, str]
    # The stack's outputs.
    stack: dict[str, str]
    # The URL of a queue that receives the alerts.
    alert_queue: str

    def state(self) -> dict:
        return self.account.state(list(self.trails.values()))

    def invoke(self, event: dict) -> dict:
        return self.account.invoke(self.stack["FunctionName"], event)

    def alerts(self) -> list[dict]:
        return self.account.alerts(self.alert_queue)
