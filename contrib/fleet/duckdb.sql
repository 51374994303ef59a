-- Questions about recordings of many machines and days, to DuckDB 1.2 or later. First records.sql, on
-- recordings as they are, or parquet.sql's views, on what it made of them:
--   cat records.sql duckdb.sql | duckdb -cmd "set variable recordings = '/var/log/flows/*/*.jsonl.zst'"

-- Top talkers by day and machine.
with sums as (
    select strftime(time at time zone 'UTC', '%Y-%m-%d') as day, host, process,
           sum(rx_bytes)::ubigint as rx, sum(tx_bytes)::ubigint as tx
    from flows
    group by all
)
select day, host, process, rx as rx_bytes, tx as tx_bytes
from sums
qualify row_number() over (partition by day, host order by rx + tx desc, process) <= 10
order by day, host, rx + tx desc, process;

-- Top talkers of all machines.
select process, count(distinct host)::ubigint as hosts, sum(rx_bytes + tx_bytes)::ubigint as bytes
from flows
group by process
order by bytes desc, process
limit 10;

-- Can it be trusted? 0 but in `counted` is right.
select host,
       (sum(rx_bytes + tx_bytes) filter (type = 'interval'))::ubigint as counted,
       sum(untracked_rx_bytes + untracked_tx_bytes)::ubigint as untracked,
       coalesce(sum(missed_events), 0)::ubigint as missed,
       (counted - untracked - sum(rx_bytes + tx_bytes) filter (type = 'flow'))::bigint as lacking
from records
where type in ('interval', 'flow')
group by host
order by host;
