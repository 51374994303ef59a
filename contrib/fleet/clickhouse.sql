-- Recordings in ClickHouse, as they are. NOT TESTED here, unlike duckdb.sql: written by ClickHouse's
-- documentation.
create table flowtop_records
(
    type LowCardinality(String),
    time DateTime64(3, 'UTC'),
    seconds Float64,
    host LowCardinality(String),
    pid UInt32,
    process LowCardinality(String),
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
order by (type, host, time)
ttl toDateTime(time) + interval 90 day;

-- Load: files below the server's user_files, .zst as it is. Fields that are absent get their defaults.
insert into flowtop_records
select type, time, seconds, host, pid, process, unit, container, remote_addr,
       rx_bytes, tx_bytes, untracked_rx_bytes, untracked_tx_bytes, missed_events
from file('flows/*/*.jsonl.zst', 'JSONEachRow',
     'type String, time DateTime64(3, \'UTC\'), seconds Float64, host String, pid UInt32, process String,
      unit String, container String, remote_addr String, rx_bytes UInt64, tx_bytes UInt64,
      untracked_rx_bytes UInt64, untracked_tx_bytes UInt64, missed_events UInt64')
settings input_format_skip_unknown_fields = 1, date_time_input_format = 'best_effort';

-- Top talkers by day and machine.
select toDate(time) as day, host, process, sum(rx_bytes) as rx, sum(tx_bytes) as tx
from flowtop_records
where type = 'flow'
group by day, host, process
order by day, host, rx + tx desc
limit 10 by day, host;
