"""The options of `rx-runat ui`."""

from __future__ import annotations

import argparse

from rx_runat.cli.work_options import port

UI = """\
Serve a page that shows the queue in any browser, live: what waits, what is out and what died. It takes no keys.
It needs the extra `ui`.

  rx-runat ui --redis redis://localhost:6379
  rx-runat ui --actions --lane :
"""

UI_EPILOG = """\
The command prints the address of the page. On loopback, everybody who has an account on this machine can look at it.
--actions, and a host that is not loopback, want a token: it is part of the printed address, and each start makes
another one, unless $RX_RUNAT_UI_TOKEN holds one. A cookie keeps it, which the browser also sends to other ports of the
same host. The page is not encrypted: off loopback, put a proxy with TLS in front of it, which passes the Host header
on.
"""


def add_ui_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rx-runat ui` to its parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: 127.0.0.1")
    parser.add_argument(
        "--port",
        type=port,
        default=8765,
        metavar="PORT",
        help="default: 8765; 0: any free one",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name under which browsers reach the page; others are refused. May be repeated. default: --host "
        "and the names of loopback",
    )
    parser.add_argument(
        "--actions", action="store_true", help="let the page cancel, reschedule, revive and drop keys; wants a token"
    )
    parser.add_argument(
        "--window", type=float, default=10.0, metavar="SECONDS", help="of the future in the picture; default: 10"
    )
    parser.add_argument(
        "--lane",
        metavar="SEPARATOR",
        help="draw keys in lanes, by what stands before the first SEPARATOR in them, such as ':'; default: one lane",
    )
