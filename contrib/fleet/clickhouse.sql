-- Recordings in ClickHouse, as they are. The columns are named here only: for a further field of
-- docs/OUTPUT.md add a column of its name.
create table if not exists flowtop_records
(
    type LowCardinality(String),
    time DateTime64(3, 'UTC'),
    seconds Float64,
    host LowCardinality(String),
    proto LowCardinality(String),
    local_addr String,
    local_port UInt16,
    remote_addr String,
    remote_port UInt16,
    netns UInt64,
    ifindex UInt32,
    interface LowCardinality(String),
    pid UInt32,
    process LowCardinality(String),
    tid UInt32,
    uid Nullable(UInt32),
    user LowCardinality(String),
    cgroup String,
    unit LowCardinality(String),
    container_runtime LowCardinality(String),
    container String,
    container_name LowCardinality(String),
    image LowCardinality(String),
    pod String,
    pod_name LowCardinality(String),
    pod_namespace LowCardinality(String),
    job String,
    internal Bool,
    overflow Bool,
    rx_bytes UInt64,
    tx_bytes UInt64,
    rx_msgs UInt64,
    tx_msgs UInt64,
    retransmits UInt64,
    untracked_rx_bytes UInt64,
    untracked_tx_bytes UInt64,
    missed_events UInt64
)
-- What is loaded or shipped twice is the same row: queries say `final`, and merges drop it for good.
engine = ReplacingMergeTree
partition by toYYYYMM(time)
primary key (type, host, time)
order by (type, host, time, pid, tid, proto, local_addr, local_port, remote_addr, remote_port, netns, ifindex,
          overflow, rx_bytes, tx_bytes)
ttl toDateTime(time) + interval 90 day;

-- Load: files below the server's user_files, .zst as it is. Fields that are absent get their defaults. Files
-- that are there already need not be left out.
insert into flowtop_records
select * from file('flows/*/*.jsonl.zst', 'JSONEachRow')
settings use_structure_from_insertion_table_in_table_functions = 1, input_format_skip_unknown_fields = 1,
         date_time_input_format = 'best_effort';

-- Top talkers by day and machine.
select toDate(time) as day, host, process, sum(rx_bytes) as rx, sum(tx_bytes) as tx
from flowtop_records final
where type = 'flow'
group by day, host, process
order by day, host, rx + tx desc, process
limit 10 by day, host;

-- Can it be trusted? 0 but in `counted` is right.
select host,
       sumIf(rx_bytes + tx_bytes, type = 'interval') as counted,
       sum(untracked_rx_bytes + untracked_tx_bytes) as untracked,
       sum(missed_events) as missed,
       toInt64(counted) - toInt64(untracked) - toInt64(sumIf(rx_bytes + tx_bytes, type = 'flow')) as lacking
from flowtop_records final
group by host
order by host;
