-- Recordings of many machines and days in DuckDB, as they are: compressed, by any names.
--   duckdb -cmd "set variable recordings = '/var/log/flows/*/*.jsonl.zst'" < duckdb.sql
-- Only the columns of the queries below are named here; docs/OUTPUT.md has all fields. Recordings of schema 1
-- and 2 lack the host of a flow: flowtop --json -n 0 --replay OLD writes them as schema 3.
create or replace temp table records as
select *
from read_json(
    getvariable('recordings'),
    format = 'newline_delimited',
    columns = {
        type: 'varchar', time: 'timestamptz', seconds: 'double', host: 'varchar',
        pid: 'bigint', process: 'varchar', unit: 'varchar', container: 'varchar', remote_addr: 'varchar',
        rx_bytes: 'ubigint', tx_bytes: 'ubigint',
        untracked_rx_bytes: 'ubigint', untracked_tx_bytes: 'ubigint', missed_events: 'ubigint'
    }
);

create or replace temp view flows as
select * from records where type = 'flow';

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
       sum(rx_bytes + tx_bytes)::ubigint as counted,
       sum(untracked_rx_bytes + untracked_tx_bytes)::ubigint as untracked,
       sum(missed_events)::ubigint as missed,
       (sum(rx_bytes + tx_bytes - untracked_rx_bytes - untracked_tx_bytes)
           - (select sum(rx_bytes + tx_bytes) from flows where flows.host = machine.host))::bigint as lacking
from records machine
where type = 'interval'
group by host
order by host;
