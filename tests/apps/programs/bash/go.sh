# needs: go
# memory: 3g
# time: 200
# A program built by the Go that is there: goroutines, timers, signals, exec, pipes, unix sockets, HTTP.
export HOME=$PWD GOCACHE=$PWD/cache GOPATH=$PWD/path GOFLAGS='-p=2' GO111MODULE=off GOTOOLCHAIN=local
cat > main.go <<'G'
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func goroutines() {
	var sum atomic.Int64
	var group sync.WaitGroup
	channel := make(chan int, 10)
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range channel {
				sum.Add(int64(n))
			}
		}()
	}
	for i := 1; i <= 20000; i++ {
		channel <- i
	}
	close(channel)
	group.Wait()
	fmt.Println("sum", sum.Load())
}

// A loop without calls is left only because SIGURG preempts it.
func preemption() {
	runtime.GOMAXPROCS(1)
	var stop atomic.Bool
	go func() { time.Sleep(20 * time.Millisecond); stop.Store(true) }()
	for n := 0; !stop.Load(); n++ {
	}
	runtime.GOMAXPROCS(4)
	runtime.GC()
	fmt.Println("preempted")
}

func signals() {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1)
	check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	fmt.Println("signal", <-caught)
	defer func() { fmt.Println("recovered:", recover()) }()
	var nothing *int
	fmt.Println(*nothing)
}

func programs() {
	out, err := exec.Command("sh", "-c", "echo from the shell; exit 3").Output()
	fmt.Printf("%q %v\n", out, err)
	cat := exec.Command("cat")
	in, _ := cat.StdinPipe()
	from, _ := cat.StdoutPipe()
	check(cat.Start())
	go func() { fmt.Fprintln(in, "through cat"); in.Close() }()
	data, _ := io.ReadAll(from)
	fmt.Printf("%q %v\n", data, cat.Wait())
	sleeper := exec.Command("sleep", "100")
	check(sleeper.Start())
	sleeper.Process.Kill()
	fmt.Println(sleeper.Wait())
}

func sockets() {
	listener, err := net.Listen("unix", "socket")
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(connection, connection)
		}
	}()
	for i := 0; i < 3; i++ {
		connection, err := net.Dial("unix", "socket")
		check(err)
		fmt.Fprintf(connection, "echo %d\n", i)
		line, _ := bufio.NewReader(connection).ReadString('\n')
		fmt.Print(line)
		connection.Close()
	}
	listener.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) }))
	answer, err := http.Get("http://" + web.Addr().String() + "/there")
	check(err)
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.StatusCode, string(body))
}

func files() {
	check(os.WriteFile("data", []byte("0123456789"), 0o640))
	file, err := os.OpenFile("data", os.O_RDWR, 0)
	check(err)
	file.WriteAt([]byte("XY"), 3)
	memory, err := syscall.Mmap(int(file.Fd()), 0, 10, syscall.PROT_READ, syscall.MAP_SHARED)
	check(err)
	info, _ := file.Stat()
	fmt.Println(string(memory), info.Size(), info.Mode())
	_, err = os.Open("missing")
	fmt.Println(err)
	entries, _ := os.ReadDir(".")
	fmt.Println(len(entries) > 2)
}

func main() {
	goroutines()
	preemption()
	signals()
	programs()
	sockets()
	files()
}
G
go vet main.go && go build -o program main.go && ./program; echo $?
CGO_ENABLED=0 go build -ldflags='-s -w' -o static main.go && ./static | tail -2; go run main.go | wc -l
