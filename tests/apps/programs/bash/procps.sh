# needs: ps pgrep free uptime top vmstat pkill pmap
# What procps shows of known processes.
sleep 1000 & first=$!
bash -c 'exec -a renamed sleep 2000' & second=$!
until [ "$(ps -o args= -p $second)" = "renamed 2000" ]; do :; done
ps -o comm=,args= -p $first,$second; ps -o ppid= -p $first | grep -qw $$ && echo child of the shell
ps -o pid= --ppid $$ | grep -cw -e $first -e $second; ps ax -o pid= | grep -cw $$; ps -o stat=,args= --ppid $$ | grep -c '^S.*sleep 1000$'
pgrep -P $$ -x sleep | wc -l; pgrep -f 'renamed 20+' | grep -cx $second; ps -T -p $$ | wc -l; ps -o nlwp=,tty=,ni= -p $first | tr -s ' '
ps -o etimes= -p $first | awk '{ print ($1 < 60) }'; ps aux | awk '$2 == '$first' { print $11, $12 }'; ps -ef | head -1 | tr -s ' '
renice -n 19 -p $first > /dev/null; ps -o ni= -p $first | tr -d ' '; ps -o ruser=,sid= -p $first | grep -c . ; ps --forest -o pid=,args= -g $$ | wc -l | grep -c .
free -b | awk '/Mem/ { print ($2 > 0), ($3 <= $2), ($7 <= $2) }'; uptime | grep -cE 'up .* load average: [0-9.]+, [0-9.]+, [0-9.]+'; uptime -s | grep -cE '^[0-9]{4}-'
top -b -n 1 -p $first | awk '/sleep/ { print $1 == '$first', $NF }'; top -b -n 2 -d 0.2 | grep -c '^top -'; vmstat 1 2 | awk 'END { print NR, NF }'; w -h 2> /dev/null | wc -l | grep -c .
cat /proc/$first/comm; tr '\0' ' ' < /proc/$first/cmdline; echo; readlink /proc/$first/exe; grep -E '^(Name|State|Pid|Threads|SigIgn)' /proc/$first/status | sed -E 's/^(SigIgn:.).*(.{7})$/\1\2/' | sed "s/$first/PID/" | tr -s '\t' ' '
ls -l /proc/$first/fd | grep -c -- '->'; readlink /proc/self/cwd | sed "s,^$PWD\$,here,"; awk '$1 == "Max" && $2 == "open" { print $1, $2, $3, NF }' /proc/self/limits; pidof -s sleep > /dev/null && echo pidof
pmap $first | grep -c libc.so; pwdx $first | sed "s,$first: $PWD,here,"; cat /proc/sys/kernel/ostype; tail -1 /proc/$$/maps > /dev/null && echo maps; watch --version | wc -l
pkill -P $$ -f 'sleep 1000$'; wait $first; echo $?; kill -9 $second; wait $second 2> /dev/null; echo $?; pgrep -P $$ -f 'sleep 1000$' || echo gone
