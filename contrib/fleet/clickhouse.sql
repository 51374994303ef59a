-- Recordings in ClickHouse, as they are. NOT TESTED here, unlike duckdb.sql: written by ClickHouse's
-- documentation.
create table flowtop_records
(
    file LowCardinality(String),
    type LowCardinality(String),
    time DateTime64(3, 'UTC'),
    interval Float64,
    host LowCardinality(String),
    pid UInt32,
    comm LowCardinality(String),
    unit LowCardinality(String),
    container String,
    remote_addr String,
    rx_bytes UInt64,
    tx_bytes UInt64,
    untracked_rx_bytes UInt64,
    untracked_tx_bytes UInt64,
    missed_events UInt64
)
engine = MergeTree
partition by toYYYYMM(time)
order by (type, time, file)
ttl toDateTime(time) + interval 90 day;

-- Load: files below the server's user_files, .zst as it is. Fields that are absent get their defaults.
insert into flowtop_records
select _path, type, time, interval, host, pid, comm, unit, container, remote_addr,
       rx_bytes, tx_bytes, untracked_rx_bytes, untracked_tx_bytes, missed_events
from file('flows/*/*.jsonl.zst', 'JSONEachRow',
     'type String, time DateTime64(3, \'UTC\'), interval Float64, host String, pid UInt32, comm String,
      unit String, container String, remote_addr String, rx_bytes UInt64, tx_bytes UInt64,
      untracked_rx_bytes UInt64, untracked_tx_bytes UInt64, missed_events UInt64')
settings input_format_skip_unknown_fields = 1, date_time_input_format = 'best_effort';

-- Top talkers by day and machine.
select toDate(flow.time) as day, machine.host as host, flow.comm as comm,
       sum(flow.rx_bytes) as rx, sum(flow.tx_bytes) as tx
from flowtop_records as flow
inner join flowtop_records as machine on machine.file = flow.file and machine.time = flow.time
where flow.type = 'flow' and machine.type = 'interval'
group by day, host, comm
order by day, host, rx + tx desc
limit 10 by day, host;
