"""What a queue looks like, for notebooks and web pages alike. This folder depends on neither Jupyter nor the web.

    queue --> poller --> scene --> frame --> timeline.js | static_svg
                           |
                key_tracker, history, lanes

poller        polls a queue while somebody looks, and takes in what this process claims
viewers       whether somebody looks at the picture
scene         gathers what the picture shows: the schedule, the keys that are out, and what became of others
key_tracker   finds out what became of each key
history       what has happened to keys, until it leaves the picture
lanes         which key goes to which lane, and which keys of a lane are drawn as one
frame         all that one picture is drawn from, as JSON
palette       the colours, for light and for dark paper
timeline.js   draws frames on a canvas, where they move; timeline.css has its colours
static_svg    draws a frame as an SVG that stands still
svg           SVG pictures, drawn piece by piece
"""
