# Pipelines, process substitution, co-processes, subshells, background jobs, exit statuses.
set -o pipefail
false | true; echo "pipefail $?" "${PIPESTATUS[*]}"
(exit 7); echo "subshell $?"
{ bash -c 'kill -TERM $$'; } 2> /dev/null; echo "killed $?"
{ bash -c 'kill -SEGV $$'; } 2> /dev/null; echo "crashed $?"
diff <(printf 'a\nb\n') <(printf 'a\nc\n'); echo "diff $?"
tee >(wc -c > count) >(tr a-z A-Z > upper) < <(echo hello) > /dev/null
while [ ! -s count ] || [ ! -s upper ]; do :; done
cat count upper
coproc UP { while read -r line; do echo "${line^^}"; done; }
echo together >&"${UP[1]}"; read -r answer <&"${UP[0]}"; echo "$answer"
exec {UP[1]}>&-; wait "$UP_PID"; echo "coproc $?"
jobs=(); for i in 5 3 1 4 2; do (sleep 0.0$i; exit "$i") & jobs+=("$!"); done
total=0; for job in "${jobs[@]}"; do wait "$job"; total=$((total + $?)); done; echo "sum $total"
(exit 3) & wait -n; echo "wait -n $?"
seq 1000 | xargs -P 4 -n 100 sh -c 'echo $#' _ | sort | uniq -c | tr -s ' '
mkfifo fifo; (echo through > fifo) & cat fifo; wait
exec 7> out; echo seven >&7; exec 7>&-; cat out
yes | head -100000 | wc -l
timeout 0.1 sleep 5; echo "timeout $?"
nosuchprogram 2> /dev/null; echo "missing $?"
touch plain; ./plain 2> /dev/null; echo "not executable $?"
printf '#!/bin/sh\necho script "$@"\n' > script; chmod +x script; ./script a b
printf '#!%s/script\n' "$PWD" > nested; chmod +x nested; ./nested c | sed "s,$PWD,,"
ulimit -n 64; ulimit -n
env -i A=1 B=2 env | sort
nice -n 5 nice
(trap '' PIPE; yes 2> /dev/null | head -1)
{ echo out; echo err >&2; } 2>&1 > /dev/null | sed 's/^/from stderr: /'
