# A tree with modes, links and times goes through tar, gzip, xz, bzip2 and cpio and comes back the same.
export LC_ALL=C
umask 022
mkdir -p tree/deep/er; for i in $(seq 40); do seq "$i" > "tree/deep/file $i"; done
head -c 300000 /dev/zero | tr '\0' 'q' > tree/big; truncate -s 5M tree/sparse; echo tail >> tree/sparse
ln tree/big tree/hard; ln -s deep/er tree/soft; mkfifo tree/fifo; chmod 4751 tree/big; chmod 1777 tree/deep; touch -d '1999-12-31 23:59:59.5' tree/deep/er; touch -h -d 2003-03-03 tree/soft
list() { (cd "$1" && find . -printf '%p %y %m %s %n %T@ %l\n' | sed -E 's/^(.*) d ([0-7]+) [0-9]+ [0-9]+ /\1 d \2 /' | sort; find . -type f -exec md5sum {} + | sort); }
list tree > before
for how in '' z J j; do
    tar --format=posix -S -c${how}f archive tree && rm -rf out && mkdir out && tar -xpf archive -C out && list out/tree > after && cmp before after && echo "tar '$how' keeps all"
done
tar tf archive | wc -l; tar -tvf archive | grep -c rws
tar --format=posix -C tree -cf - . | (mkdir -p piped && tar -C piped -xpf -) && list piped | cmp before - && echo piped
gzip -k tree/deep/'file 7' && gzip -l tree/deep/*.gz | tail -1 | tr -s ' ' && zcat tree/deep/*.gz | tail -1 && gzip -t tree/deep/*.gz && echo gzip fine
xz -k -T2 -9 tree/big && xz -l --robot tree/big.xz | grep -c totals && xz -dc tree/big.xz | cmp - tree/big && echo xz fine
printf 'not gzip' > bad.gz; gzip -t bad.gz 2> /dev/null; echo "bad $?"; printf x | xz -d 2> /dev/null; echo "bad $?"
tar --exclude='*1*' -cf some.tar tree && tar tf some.tar | grep -c 1; tar --append -f some.tar before && tar --delete -f some.tar tree/big && tar tf some.tar | grep -c 'big$'
tar -g snapshot -cf full.tar tree; echo new > tree/new; tar -g snapshot -cf inc.tar tree; tar tf inc.tar | grep -v '/$'
