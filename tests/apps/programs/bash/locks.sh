# needs: flock
# flock(1) between processes, O_APPEND from many writers, big pipes.
exec 9> lock
flock 9; (flock -n 8 || echo busy) 8> lock; flock -u 9; (flock -n 8 && echo free) 8> lock
echo 0 > counter
count() { for _ in $(seq 20); do flock lock sh -c 'read -r n < counter; echo $((n + 1)) > counter'; done; }
count & count & count & wait; cat counter
for w in a b c d; do (for i in $(seq 200); do echo "$w$i$w" >> log; done) & done; wait
wc -l < log; grep -cvE '^([abcd])[0-9]+\1$' log
flock -w 0.1 lock true; echo $?; (flock -s 8; flock -sn lock echo shared; flock -xn lock echo never; echo $?) 8< lock
head -c 20000000 /dev/zero | tee >(wc -c > bytes) | md5sum; while [ ! -s bytes ]; do :; done; cat bytes
(for i in $(seq 30000); do echo "line number $i"; done) | sort -r | sort | md5sum
