"""tcptop of libbpf-tools: TCP by kprobes, in kilobytes of each interval, rounded down."""

TITLE = "tcptop (libbpf-tools)"
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp"}
FLOWS = True
OWNERS = True
SIGNAL = "INT"
SECONDS = (3, 3)
VERSION = "tcptop --version"
# -C: it does not clear the screen; 10,000 rows.
SETTINGS = "-C -r 10000"
COMMAND = "tcptop -C -r 10000"


def rows(text, run):
    """Kilobytes of all intervals, by process and connection."""
    for line in text.splitlines():
        fields = line.split()
        # PID COMM LADDR RADDR RX_KB TX_KB
        if len(fields) != 6 or not fields[0].isdigit() or ":" not in fields[2]:
            continue
        ports = [int(end.rsplit(":", 1)[1]) for end in fields[2:4]]
        rx, tx = (int(float(field) * 1024) for field in fields[4:])
        yield {"pid": int(fields[0]), "name": fields[1], "flow": ("tcp", *ports), "rx": rx, "tx": tx}
