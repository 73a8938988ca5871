# POSIX shell: functions, here-documents, traps, getopts, arithmetic, redirections.
set -eu
say() { printf '%s\n' "$*"; }
say one; x=5; say $((x * 3 - 1)) "${y:-default}" "${x:+set}" ${#PATH} | cut -c1-12
while getopts ab:c o -a -b value -c rest; do say "$o ${OPTARG-}"; done
cat <<EOF | sed 's/^/> /'
$(say nested) \$literal $((1 + 1))
EOF
trap 'say trapped' USR1; kill -USR1 $$; trap 'say leaving $?' EXIT
i=0; while [ $i -lt 300 ]; do i=$((i + 1)); [ $((i % 100)) -eq 0 ] || continue; say "$i"; done
(set +e; false; say "status $?"; exec sh -c 'exit 4') || say "exec $?"
exec 3> file; say three >&3; exec 3>&-; cat < file; say a b c | { read -r p q; say "$q/$p"; }
case abc in a?c) say matched;; *) say no;; esac
for f in /etc/pass?d; do say "$f"; done
eval 'say "evaluated $x"'; set -- 1 2 3; shift; say "$# $*"
sh -c 'kill -9 $$' || say "killed $?"
sleep 0.01 & wait $!; say done; unset x; (say "${x?unset}") 2> /dev/null || say "fails $?"
