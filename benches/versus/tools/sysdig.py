"""sysdig: tried, so that the page can say why it does not run; its output has no reader yet."""

TITLE = "sysdig"
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp","udp"}
SIGNAL = "INT"
SECONDS = (5, 5)
VERSION = "sysdig --version"
SETTINGS = "-p of bytes by process"
COMMAND = "sysdig -c topprocs_net"
rows = None
