"""The demo's output, with a count of failed checks."""

import sys
import textwrap


class Output:
    def __init__(self):
        self.failed = 0
        self._bold, self._plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")

    def heading(self, title: str) -> None:
        print(f"\n{self._bold}{title}{self._plain}", flush=True)

    def text(self, text: str) -> None:
        print(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False), flush=True)

    def check(self, sentence: str, holds: bool, details: object = "") -> None:
        """Prints a sentence that must be true, and the details if it is not."""
        print(f"  {'ok  ' if holds else 'FAIL'} {sentence}", flush=True)
        if not holds:
            self.failed += 1
            self.quote(str(details))

    def quote(self, text: str) -> None:
        for line in text.splitlines():
            print(f"      | {line}".rstrip(), flush=True)

    def table(self, heads: list[str], rows: list[list[str]]) -> None:
        widths = [max(len(str(row[column])) for row in [heads, *rows]) for column in range(len(heads))]
        for row in [heads, ["-" * width for width in widths], *rows]:
            print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())

    def answer(self, answer: dict) -> None:
        """Prints the function's answer, one line for each finding, step, warning and error."""
        for trail in answer.get("trails", []):
            print(f"  {trail['trail_arn'].rpartition('/')[2]}: {self._bold}{trail['outcome']}{self._plain}")
            for finding in trail["findings"]:
                self._item("finding", f"{finding['id']}: {finding['detail']}")
            for step in trail["steps"]:
                self._item(step["status"], f"{step['step']}: {step['detail']}")
            for warning in trail["warnings"]:
                self._item("warning", f"{warning['id']}: {warning['detail']}")
            if trail["error"]:
                self._item("error", trail["error"]["message"])

    @staticmethod
    def _item(label: str, text: str) -> None:
        print(
            textwrap.fill(
                text, 110, initial_indent=f"    {label:<11} ", subsequent_indent=" " * 16, break_on_hyphens=False
            )
        )
