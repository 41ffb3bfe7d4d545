"""A page that shows a queue in any browser. Needs the `ui` extra.

    queue --> feed --> stream --server-sent events--> page.js --> drawing/timeline.js, tables.js
                |
             tables

    browser --> guard --> access --> routes --> search, actions --> queue

application  `app`: the page as an ASGI app, and what its arguments may be
guard        which requests are let in, by host, machine and the site that they come from; headers of all replies
access       the token, and the cookie that keeps it
routes       what is served at which path
feed         one look at the queue for all viewers, while there are any
tables       the numbers, the next keys, the keys that are out and the dead letters, once a second
stream       the events of one viewer, who loses frames if it is slow
search       the keys that wait and match a pattern
actions      cancel, reschedule, revive and drop, by POST of JSON
page.html    the page; page.css has its looks, icon.svg its icon, enter.html asks for the token
page.js      shows what the stream brings; stands between the stream and timeline.js
tables.js    the rows of the tables, and how long until a moment
actions.js   asks before an action, and says what happened
"""

try:
    from rx_runat.ui.application import LOOPBACK, app
except ModuleNotFoundError as error:
    raise ImportError("rx_runat.ui needs starlette and uvicorn; pip install 'rx-runat[ui]'") from error

__all__ = ["LOOPBACK", "app"]
