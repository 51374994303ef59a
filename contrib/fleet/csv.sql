-- The output of flowtop --csv -n 0 as two views of DuckDB, as those of records.sql. Types are given, because
-- a column that is empty in the first rows would be taken for text. flowtop puts a ' before texts that begin
-- with =, +, -, @, a tab or a line break, which spreadsheets would take for formulas: see docs/OUTPUT.md.
-- The first two questions of duckdb.sql work on these views. The third, whether anything is lacking, needs records of
-- intervals, which CSV does not have.
--   set variable recordings = 'flows.csv';
create or replace temp view records as
select *
from read_csv(
    getvariable('recordings'),
    header = true, all_varchar = false, union_by_name = true,
    types = {
        type: 'varchar', time: 'timestamptz', seconds: 'double', host: 'varchar',
        proto: 'varchar', local_addr: 'varchar', local_port: 'usmallint',
        remote_addr: 'varchar', remote_port: 'usmallint', netns: 'ubigint',
        pid: 'uinteger', process: 'varchar', uid: 'uinteger', "user": 'varchar', cgroup: 'varchar',
        unit: 'varchar', container_runtime: 'varchar', container: 'varchar', pod: 'varchar',
        container_name: 'varchar', image: 'varchar', pod_name: 'varchar', pod_namespace: 'varchar', job: 'varchar',
        internal: 'boolean', overflow: 'boolean',
        rx_bytes: 'ubigint', tx_bytes: 'ubigint', rx_msgs: 'ubigint', tx_msgs: 'ubigint', retransmits: 'ubigint',
        missed_events: 'ubigint'
    }
);
create or replace temp view flows as select * from records where type = 'flow';
