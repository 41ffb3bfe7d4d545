"""`python -m rx_runat`: the command."""

import sys

from rx_runat.cli import main

sys.exit(main())
