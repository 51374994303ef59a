"""tcplife (bpftrace): tried, so that the page can say why it does not run; its output has no reader yet."""

TITLE = "tcplife (bpftrace)"
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp"}
SIGNAL = "INT"
SECONDS = (5, 5)
VERSION = "bpftrace --version"
SETTINGS = "tcplife.bt"
COMMAND = "bpftrace /usr/sbin/tcplife.bt"
rows = None
