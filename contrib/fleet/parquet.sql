-- A finished recording to Parquet, and a rollup of it to minutes, by DuckDB 1.5 or later. Run it hourly for
-- each new file; a file that is made again is written anew, so nothing doubles. Recordings are for their owner alone,
-- and so are these files by umask:
--   umask 077
--   for file in /var/log/flows/*/*.jsonl.zst; do
--       parquet=${file%.jsonl.zst}.parquet minutes=${file%.jsonl.zst}.minutes.parquet
--       [ -e "$minutes" ] || cat records.sql parquet.sql | duckdb -cmd "set variable recordings = '$file';
--           set variable parquet = '$parquet'; set variable minutes = '$minutes'"
--   done
-- Not for the newest file of a machine, which is still written. The questions of duckdb.sql on the result, at
-- a tenth of the time:
--   create temp view records as from '/var/log/flows/*/flows-*Z.parquet';
--   create temp view flows as from records where type = 'flow';
copy (select * from records where type in ('interval', 'flow') order by type, process, remote_addr, time)
to (getvariable('parquet')) (format parquet, compression zstd);

-- By minute, program and peer; untracked bytes stay in the whole.
copy (
    select time_bucket(interval '1 minute', time) as time, host, process, "user", unit, container, container_name, pod,
           pod_name, pod_namespace, proto, remote_addr, internal,
           sum(rx_bytes)::ubigint as rx_bytes, sum(tx_bytes)::ubigint as tx_bytes,
           sum(rx_msgs)::ubigint as rx_msgs, sum(tx_msgs)::ubigint as tx_msgs
    from flows
    group by all
    order by process, remote_addr, time
)
to (getvariable('minutes')) (format parquet, compression zstd);
