"""Firefox without a screen, driven by Marionette; a script stands in for the PIN window."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, Final, Self

from tests.conftest import program
from tests.interop.browsers.browser import PageError
from tests.interop.browsers.marionette import Marionette, MarionetteError
from tests.interop.browsers.person import Person
from tests.interop.processes import PATIENCE, Process

_MODES: Final = ("--headless", "--no-remote", "--marionette", "--remote-allow-system-access")
_PREFERENCES: Final[dict[str, object]] = {
    "security.default_personal_cert": "Select Automatically",
    # A free port, told on the standard output.
    "marionette.port": 0,
    # What would leave the machine goes to a proxy where nobody listens; loopback needs none.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.socks_remote_dns": True,
    "network.dns.disabled": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#none",
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "security.OCSP.enabled": 0,
    # Each page is one connection.
    "network.http.speculative-parallel-limit": 0,
    # No page of its own comes first, and nothing asks about a default or terms.
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "termsofuse.bypassNotification": True,
}

# The native PIN window would hold up Marionette, which runs in the same thread.
_PIN_WINDOW: Final = """
window.klyuch = {pins: [], prompts: []};
const prompt = {
  QueryInterface: ChromeUtils.generateQI(["nsIPrompt"]),
  promptPassword(title, text, password) {
    window.klyuch.prompts.push(text);
    const entered = window.klyuch.pins.length > 0;
    if (entered) password.value = window.klyuch.pins.shift();
    return entered;
  },
};
const prompter = {
  QueryInterface: ChromeUtils.generateQI(["nsIPromptFactory"]),
  getPrompt: () => prompt,
};
Components.manager.QueryInterface(Ci.nsIComponentRegistrar).registerFactory(
  Services.uuid.generateUUID(), "", "@mozilla.org/prompter;1",
  {createInstance: iid => prompter.QueryInterface(iid)});
"""


class Firefox:
    """A `Browser`."""

    # Once for each try, and once more for every page.
    most_prompts = (4, 1)

    def __init__(self, person: Person) -> None:
        self._program = program("firefox-esr", "firefox-esr")
        # Its crash reporter would be a process that outlives it.
        self._environment = {**person.environment, "MOZ_CRASHREPORTER_DISABLE": "1"}
        self._profile = person.home / "profile"
        person.make_database(self._profile)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in _PREFERENCES.items()
        ]
        (self._profile / "user.js").write_text("".join(lines))

    def __enter__(self) -> Self:
        command = (self._program, *_MODES, "--profile", self._profile, "about:blank")
        with ExitStack() as stack:
            process = stack.enter_context(Process(command, self._environment))
            port = process.wait_for(r"Marionette\s+INFO\s+Listening on port (\d+)\n")[1]
            self._marionette = stack.enter_context(Marionette(int(port), PATIENCE))
            self._marionette.run_privileged(_PIN_WINDOW)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def prompts(self) -> list[str]:
        return list(self._marionette.run_privileged("return window.klyuch.prompts;"))

    def enter(self, *pins: str) -> None:
        self._marionette.run_privileged("window.klyuch.pins = arguments[0];", pins)

    def open(self, url: str) -> str:
        try:
            self._marionette.call("WebDriver:Navigate", url=url)
        except MarionetteError as error:
            raise PageError(str(error)) from error
        script = "return document.getElementById('subject').textContent;"
        return str(self._marionette.call("WebDriver:ExecuteScript", script=script, args=[]))
