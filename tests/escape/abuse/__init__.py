"""Programs that abuse what they were given: their link, their output, the processor.

`abuse(sys)` is the program; STOPPED_BY says what holds it, ENDS how its process then ends. None means that it may go on
for as long as it likes: it is held back, and whoever else calls is answered meanwhile.
"""

SOCK = 3
"""The worker's own end of its link."""
