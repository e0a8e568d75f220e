"""``python -m host_tools.cli`` is ``klyuch``."""

from host_tools.cli import main

main()
