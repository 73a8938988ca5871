# find and xargs.
export LC_ALL=C
mkdir -p src/{lib,bin,doc}; for i in 1 2 3; do echo "int f$i;" > src/lib/f$i.c; echo doc > "src/doc/with space $i.md"; done
head -c 5000 /dev/zero > src/bin/big; chmod 755 src/bin/big; ln -s ../lib src/bin/lib; ln src/lib/f1.c src/lib/same.c; mkfifo src/pipe; touch -d 2000-01-01 src/lib/f3.c
find src | sort; find src -type f -name '*.c' -size -2 | sort; find src -type l -printf '%p -> %l\n'; find -L src -name f1.c | sort
find src -perm -100 -type f; find src -samefile src/lib/f1.c | sort; find src -newermt 2001-01-01 -name '*.c' | sort; find src -links +1 -type f | sort
find src -name '*.md' -print0 | sort -z | xargs -0 -n 2 echo batch; find src -name '*.md' -exec sh -c 'echo "$#"' _ {} +; find src -empty -o -type p
find src -maxdepth 1 -mindepth 1 -type d -printf '%f %y %m\n' | sort; find src -regex '.*/f[12]\.c' | sort; find src -path src/doc -prune -o -type f -print | sort
find src -name '*.md' -delete; ls src/doc; find src -type f -printf '%s %P\n' | sort; find src -inum "$(stat -c %i src/pipe)"; find nosuch 2> /dev/null; echo $?
seq 10 | xargs -n 3; seq 4 | xargs -I{} echo '<{}>'; seq 3 | xargs -P 3 -n 1 sh -c 'exit 1'; echo $?; seq 5 | xargs sh -c 'exit 255' 2> /dev/null; echo $?
xargs -a src/lib/f1.c echo; echo | xargs -r echo never; printf '%s\n' {1..5000} | xargs -s 2000 echo | wc -l; find /proc/self/fd -lname '*' | wc -l | grep -c .
