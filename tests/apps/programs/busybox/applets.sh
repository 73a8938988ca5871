# needs: busybox
# One static program that is many: its own shell, its own tools.
bb() { busybox "$@"; }
mkdir -p t/u; for i in 1 2 3 4 5; do echo "line $i" >> t/f; done; bb cp t/f t/u/g; bb ls -1 t t/u; bb cat t/f | bb tail -n 2
bb seq 100 | bb awk '{ s += $1 } END { print s }'; bb sed -n '2,3p' t/f; bb grep -c line t/f; bb find t -type f | bb sort; bb wc t/f
bb tar -cf x.tar t && bb mkdir y && bb tar -xf x.tar -C y && bb diff -r t y/t && echo tar; bb gzip -c t/f | bb gunzip -c | bb cmp - t/f && echo gzip; bb md5sum t/f; bb sha256sum < t/f
bb sh -c 'f() { echo "$1"; return 3; }; f x; echo $?; (exit 4) || echo $?; echo a | { read v; echo "<$v>"; }'; bb sh -c 'kill -TERM $$'; echo $?
bb printf '%s %d\n' a 5; bb expr 3 + 4; bb basename /a/b; bb dirname /a/b; bb cut -d' ' -f2 t/f | bb tr 1-5 a-e | bb xargs echo; bb head -c 4 t/f; echo; bb uniq -c t/f | bb wc -l
bb stat -c '%s %a' t/f; bb touch -t 200001010000 t/f; bb date -u -d @86400 +%F; bb chmod 700 t/f; bb ls -l t/f | bb cut -c1-10; bb ln -s f t/l; bb readlink t/l; bb rm -r y; bb test -d y || echo removed
bb sleep 50 & kill $!; wait $! 2> /dev/null; echo $?; bb timeout 0.1 busybox sleep 5; echo $?; bb id -u; bb uname -s; bb env -i X=1 busybox env
bb dd if=/dev/zero bs=1k count=10 2> /dev/null | bb wc -c; bb od -An -tx1 -N4 /dev/zero; echo 'aGkK' | bb base64 -d; bb vi --help 2>&1 | bb grep -c '[Uu]sage'; bb factor 91; bb ps > /dev/null && echo ps; bb mkfifo p; (echo via > p) & bb cat p; wait
bb xz -dc < /dev/null; bb which sh; bb realpath t/../t/u | bb sed 's,.*/,,'; bb shuf -i 1-5 | bb sort -n | bb tr '\n' ' '; echo; bb cal 1 2000 | bb head -1; bb df . | bb wc -l; bb du -s t > /dev/null && echo du
