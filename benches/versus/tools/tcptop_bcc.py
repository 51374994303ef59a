"""tcptop (bcc): tried, so that the page can say why it does not run; its output has no reader yet."""

TITLE = "tcptop (bcc)"
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp"}
SIGNAL = "INT"
SECONDS = (5, 5)
VERSION = "tcptop-bpfcc --help"
SETTINGS = "-C 1"
COMMAND = "tcptop-bpfcc -C 1"
rows = None
