"""Another process, told what to do by a test.

Run as a module it reads requests ``[name, arguments…]`` and writes ``{"result": …}`` or
``{"error": TEXT}``, a line of JSON each; the names are those of methods of a worker.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from host_tools.closing import Closing


class Refused(Exception):
    """What was asked for failed in the other process; its text is the name of the error."""


class RemoteWorker(Closing):
    """The other process, which is killed at the end."""

    refusal: ClassVar[type[Exception]] = Refused
    """What `answer` raises."""

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `module`, whose end is `serve`; `environment` is added to that of this process."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, name: str, *arguments: object) -> None:
        """Ask without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest request. Raises `refusal`."""
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise self.refusal(answer["error"])
        return answer["result"]

    def call(self, name: str, *arguments: object) -> Any:
        """Ask and wait for the answer. Raises `refusal`."""
        self.send(name, *arguments)
        return self.answer()


def serve(worker: object, errors: type[Exception], told: Callable[[Any], str] = str) -> None:
    """Do what the test asks until it is gone; of `errors` it hears what `told` makes of them."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer: dict[str, object] = {"result": getattr(worker, name)(*arguments)}
        except errors as error:
            answer = {"error": told(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
