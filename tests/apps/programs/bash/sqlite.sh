# needs: sqlite3
# Transactions, constraints, the WAL, and two processes that wait for each other's locks.
sqlite3 a.db <<'S'
create table t(id integer primary key, name text unique, v real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) insert into t select i, 'name' || i, i / 3.0 from n;
begin; delete from t where id % 2; rollback; select count(*), round(sum(v), 3) from t;
begin; update t set v = v + 1 where id <= 10; savepoint s; delete from t; rollback to s; commit; select count(*), round(sum(v), 3) from t;
create index i on t(v); explain query plan select * from t where v between 10 and 20; select count(*) from t where v between 10 and 20;
select json_group_array(name) from (select name from t order by id desc limit 3);
pragma integrity_check;
S
sqlite3 a.db "insert into t values (1, 'x', 0)" 2> /dev/null; echo "constraint $?"
sqlite3 a.db 'pragma journal_mode = wal;'
sqlite3 a.db "create table c(n); insert into c values (0)"
add() { for _ in $(seq 15); do sqlite3 -cmd '.timeout 60000' a.db 'begin immediate; update c set n = n + 1; commit'; done; }
add & add & add & wait; sqlite3 a.db 'select n from c'
mkfifo go
(echo 'begin exclusive; select "held";'; read -r _ < go; echo 'commit;') | sqlite3 b.db > state &
until [ -s state ]; do :; done; cat state
sqlite3 b.db 'create table u(x)' 2>&1 | grep -c locked; echo > go; wait; sqlite3 b.db 'create table u(x)'; sqlite3 b.db .tables
sqlite3 a.db .dump | sqlite3 c.db; sqlite3 c.db 'select count(*), max(v) from t; vacuum; pragma page_count' ; sqlite3 a.db '.backup d.db'; sqlite3 d.db 'pragma integrity_check; pragma wal_checkpoint(truncate)'
head -c 100 /dev/zero > e.db; echo garbage-garbage >> e.db; sqlite3 e.db 'select 1 from sqlite_master' 2>&1 | grep -c 'not a database'
