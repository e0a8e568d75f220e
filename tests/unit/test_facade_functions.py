"""Where the functions of PKCS#11 are in the facade, and when they are loaded."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

from pkcs11_module import facade
from pkcs11_module._functions import FUNCTIONS as TABLE
from pkcs11_module.facade.functions import FUNCTIONS, handler
from pkcs11_module.facade.registry import HANDLERS
from pkcs11_module.types import Pkcs11Error
from tests.unit.facade_rig import Rig


def test_every_handler_is_where_the_table_of_functions_says() -> None:
    for module in pkgutil.iter_modules(facade.__path__):
        import_module(f"{facade.__name__}.{module.name}")
    listed = {name for names in FUNCTIONS.values() for name in names}
    assert listed == HANDLERS.keys()
    assert listed <= {function.name for function in TABLE}


@pytest.mark.parametrize("module", FUNCTIONS)
def test_a_module_is_loaded_when_its_functions_are_asked_for(module: str) -> None:
    script = f"""
from pkcs11_module.facade.functions import FUNCTIONS, handler
from pkcs11_module.facade.registry import HANDLERS
for name in FUNCTIONS[{module!r}]:
    assert handler(name) is HANDLERS[name]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_only_some_programs_call_is_not_loaded_with_the_module() -> None:
    script = """
import sys
from tests.unit.facade_rig import Rig
Rig().application().application.call("C_GetTokenInfo", 1)
print(*(name for name in sys.modules if name.startswith("pkcs11_module.facade.")))
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = {name.rpartition(".")[2] for name in run.stdout.split()}
    assert loaded >= {"slots", "sessions"}
    assert not loaded & {"cipher", "derive", "digest", "keygen", "messages", "sign", "wrap"}


def test_a_name_that_is_no_function_has_no_handler() -> None:
    assert handler("C_NoSuchFunction") is None
    with pytest.raises(Pkcs11Error, match="CKR_FUNCTION_NOT_SUPPORTED"):
        Rig().application().application.call("C_NoSuchFunction")
