# Traps, job control in a script, stops and continues.
trap 'echo "got TERM"' TERM
trap 'echo "got USR1"' USR1
kill -TERM $$; kill -USR1 $$
trap - TERM
trap 'echo "error on $LINENO"' ERR; false; trap - ERR
(trap 'echo "subshell exit"' EXIT; echo inside)
bash -c 'trap "echo child exits; exit 9" HUP; kill -HUP $$; echo never'; echo $?
bash -c 'trap "" INT; kill -INT $$; echo survived'
bash -c 'sleep 100 & trap "kill $!; wait $!; echo \"sleeper \$?\"" EXIT; exit 4'; echo $?
# A blocked wait is cut short by a trapped signal, and can be taken up again.
(sleep 0.1; kill -USR1 $$) & other=$!
sleep 0.4 & sleeper=$!
wait $sleeper; echo "cut $?"
wait $sleeper; echo "whole $?"
wait $other
# Job control.
set -m
sleep 50 & job=$!
kill -STOP $job; while [ "$(ps -o state= -p $job)" != T ]; do :; done; jobs -s | grep 50 | sed 's/^[^ ]* *//;s/ *sleep/ sleep/'
kill -CONT $job; while [ "$(ps -o state= -p $job)" = T ]; do :; done; jobs -r | grep 50 | sed 's/^[^ ]* *//;s/ *sleep/ sleep/'
kill $job; wait $job 2> /dev/null; echo "job $?"
(sleep 0.05; exit 6) & fg > /dev/null; echo "fg $?"
sh -c 'echo $(($(ps -o pgid= -p $$) == $$))'
set +m
sh -c 'echo $(($(ps -o pgid= -p $$) == $$))'
kill -l 15 34; kill -l TERM
{ sh -c 'kill -ABRT $$'; } 2> /dev/null; kill -l $(($? - 128))
