-- Recordings as two views of DuckDB, `records` and `flows`, on the files as they are: compressed, by any
-- names. Nothing is copied: each query reads the files, and of them only the columns it names. The queries
-- of duckdb.sql, and parquet.sql, begin with this file.
--   set variable recordings = '/var/log/flows/*/*.jsonl.zst';
-- The columns are named here only: for a further field of docs/OUTPUT.md add its name and type. Recordings of
-- schema 1 and 2 lack the host of a flow: flowtop --json -n 0 --replay OLD writes them as schema 3.
create or replace temp view records as
select *
from read_json(
    getvariable('recordings'),
    format = 'newline_delimited',
    columns = {
        type: 'varchar', time: 'timestamptz', seconds: 'double', host: 'varchar',
        proto: 'varchar', local_addr: 'varchar', local_port: 'usmallint',
        remote_addr: 'varchar', remote_port: 'usmallint', netns: 'ubigint',
        pid: 'uinteger', process: 'varchar', uid: 'uinteger', "user": 'varchar', cgroup: 'varchar',
        unit: 'varchar', container_runtime: 'varchar', container: 'varchar', pod: 'varchar',
        container_name: 'varchar', image: 'varchar', pod_name: 'varchar', pod_namespace: 'varchar', job: 'varchar',
        internal: 'boolean', overflow: 'boolean',
        rx_bytes: 'ubigint', tx_bytes: 'ubigint', rx_msgs: 'ubigint', tx_msgs: 'ubigint', retransmits: 'ubigint',
        untracked_rx_bytes: 'ubigint', untracked_tx_bytes: 'ubigint', missed_events: 'ubigint'
    }
);
create or replace temp view flows as select * from records where type = 'flow';
