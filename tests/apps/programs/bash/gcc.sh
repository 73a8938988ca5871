# needs: gcc make
# Compile, link and run: C, shared and static libraries, and a parallel make of a project of 60 files.
mkdir project; cd project || exit
for i in $(seq 60); do printf 'int part_%d(int x)\n{\n\treturn x * %d + %d;\n}\n' "$i" "$i" $((i % 7)) > "part_$i.c"; done
{ for i in $(seq 60); do echo "int part_$i(int);"; done; } > parts.h
{ echo '#include <stdio.h>'; echo '#include "parts.h"'; echo 'int main(void) { long sum = 0;'
  for i in $(seq 60); do echo "sum += part_$i($i);"; done; echo 'printf("%ld\n", sum); return 0; }'; } > main.c
cat > Makefile <<'M'
CFLAGS = -O1 -fPIC
OBJECTS = $(patsubst %.c,%.o,$(wildcard part_*.c))
all: program shared static
libparts.a: $(OBJECTS)
	ar rcs $@ $^
libparts.so: $(OBJECTS)
	$(CC) -shared -o $@ $^
program: main.o $(OBJECTS)
	$(CC) -o $@ $^
shared: main.o libparts.so
	$(CC) -o $@ main.o -L. -lparts -Wl,-rpath,'$$ORIGIN'
static: main.o libparts.a
	$(CC) -static -o $@ main.o -L. -lparts
main.o: parts.h
M
make -j2 -s && ./program && ./shared && ./static; echo "make $?"
make -q; echo "up to date $?"
touch part_7.c; make -n | grep -c part_7.o
file=part_7.c; echo 'int part_7(int x) { return x +; }' > $file; make -s program 2>&1 | grep -cE 'error: expected expression'; cd ..
cat > threads.c <<'C'
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long total;
static void *work(void *arg) { for (int i = 0; i < 20000; i++) { pthread_mutex_lock(&lock); total += (long)arg; pthread_mutex_unlock(&lock); } return arg; }
int main(void) { pthread_t t[8]; for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, work, (void *)i);
for (int i = 0; i < 8; i++) pthread_join(t[i], 0); printf("%ld\n", total); return total != 560000; }
C
gcc -O2 -pthread threads.c -o threads && ./threads
gcc -O2 -static -pthread threads.c -o threads-static && ./threads-static
gcc -no-pie -O0 -g threads.c -o nopie && ./nopie && readelf -h nopie | grep -c EXEC
objdump -d threads | grep -c '<main>:'; nm -D threads | grep -c pthread_create; strip threads && ./threads; size threads | wc -l
echo 'int main(void) { volatile int *p = 0; return *p; }' > crash.c; gcc crash.c -o crash; { ./crash; } 2> /dev/null; echo $?
echo 'int main(void) { return 1 / (int)(sizeof(int) - 4); }' | gcc -w -x c - -o zero; { ./zero; } 2> /dev/null; echo $?
printf '#include <iostream>\n#include <thread>\n#include <vector>\nint main() { std::vector<std::thread> v; int n[4]; for (int i = 0; i < 4; i++) v.emplace_back([&n, i] { n[i] = i * i; }); for (auto &t : v) t.join(); try { throw n[3]; } catch (int e) { std::cout << e << std::endl; } }\n' > t.cc
! command -v g++ > /dev/null || { g++ -O1 t.cc -o t && ./t; }
