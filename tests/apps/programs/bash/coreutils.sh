# Dozens of small tools on one tree.
export LC_ALL=C
umask 022
mkdir -p d/e/f; echo hello > d/a; ln d/a d/b; ln -s a d/c; ln -s nowhere d/broken; mkfifo d/pipe; truncate -s 10000 d/sparse
stat -c '%n %s %h %a %F' d d/a d/b d/c d/broken d/pipe d/sparse | sed 's/^d [0-9]* /d - /'
ls -1F d; ls -la d/a | cut -c1-10; readlink d/c; readlink -f d/c | sed 's,.*/,,'; realpath --relative-to=. d/e/../a
cp -a d copy; cmp d/a copy/a; diff -r d/e copy/e && echo same; [ copy/a -ef copy/b ] && echo hardlink kept
du --apparent-size -b d/a d/sparse; [ "$(du -k d/sparse | cut -f1)" = 0 ] && echo sparse
chmod u=rwx,go=rx d/a; stat -c %a d/a; chmod -R go-rwx copy; stat -c %a copy/e
touch -d '2001-02-03 04:05:06.789 UTC' d/a; date -u -r d/a '+%F %T.%3N'; touch -r d/a d/e; find d -newer d/a | wc -l
mv d/b d/e/moved; mv -n d/e/moved d/a; ls d/e; rmdir d/e/f; rm -r copy; rmdir copy 2> /dev/null; echo $?
seq 20 | shuf --random-source=<(yes) | sort -n | tail -2; seq 100 | split -l 30 - part.; wc -l part.* | tail -1; cat part.?? | cksum
seq 12 | pr -3 -t -l4; seq 5 | paste -sd+; echo 'a b c' | tr ' ' '\n' | nl; printf 'x\ty\n' | expand -t 4; seq 30 | column -c 40
printf '3 c\n1 a\n2 b\n' | sort > s1; printf '1 x\n3 z\n' > s2; join s1 s2; comm -3 <(seq 1 5) <(seq 3 7); uniq -c <(printf 'a\na\nb\n')
head -c 100000 /dev/zero | md5sum; head -c 100000 /dev/zero | sha256sum; seq 1000 | sum; echo text | base64; echo dGV4dAo= | base64 -d; echo data | b2sum -l 64
dd if=/dev/zero of=big bs=64k count=20 status=none; dd if=big bs=1000 skip=3 count=2 2> /dev/null | wc -c; stat -c %s big
dd if=s1 of=big bs=1 seek=100 conv=notrunc status=none; cmp -l big /dev/zero 2> /dev/null | wc -l; tail -c +101 big | head -3
factor 1234567890123 97; expr 6 \* 7; expr match abcdef 'b*'; test 3 -lt 4 && echo less; printf '%s-' a b; echo; numfmt --to=iec 1048576; seq -s, 1 0.5 3
basename /x/y.txt .txt; dirname /x/y.txt; pathchk -p 'a b'; echo $?; fold -w 3 <<< abcdefgh; fmt -w 20 <<< 'some words that are to be filled into lines'; tac s1; rev <<< abc
id -u; whoami; groups | wc -w; tty; echo $?; uname -s; nproc > /dev/null && echo nproc; arch; hostid | wc -c; sleep 0.01; true; false; echo $?
install -m 751 -D s1 new/dir/file; stat -c %a new/dir/file; mktemp -d ./tmp.XXXXXX | wc -c; ln -sfn new link; ls link; unlink link; sync; od -An -tx1 -N8 /dev/zero
tee t1 t2 < s1 > /dev/null; cmp t1 t2 && echo tee; csplit -s s1 2; ls xx*; tsort <<< 'a b b c'; ptx <<< 'one two' | wc -l; stdbuf -oL cat s2; timeout 5 cat s2; env -u HOME printenv HOME; echo $?
mkdir full; for i in $(seq 300); do echo "$i" > full/$i; done; ls full | wc -l; cat full/* | sort -n | tail -1; rm -rf full; ls | wc -l; stat -f -c '%l' .; df . | wc -l
: > empty; test -s empty; echo $?; chmod 000 empty; stat -c %A empty; shred -u t1; ls t1 2> /dev/null; echo $?; link t2 t3; stat -c %h t3; vdir -d new | cut -c1-4; dircolors | head -c 9; echo
