// The contract of test_web.py in Go's net/http.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func number(request *http.Request) int {
	n, _ := strconv.Atoi(request.URL.Path[strings.LastIndexByte(request.URL.Path, '/')+1:])
	return n
}

func blob(w http.ResponseWriter, request *http.Request) {
	data := make([]byte, number(request))
	for i := range data {
		data[i] = byte(i % 251)
	}
	w.Write(data)
}

func chunks(w http.ResponseWriter, request *http.Request) {
	for i := 0; i < number(request); i++ {
		fmt.Fprintln(w, i)
		w.(http.Flusher).Flush()
	}
}

func digest(w io.Writer, from io.Reader) {
	total := sha256.New()
	io.Copy(total, from)
	fmt.Fprintf(w, "%x", total.Sum(nil))
}

func fetch(w http.ResponseWriter, request *http.Request) {
	url, _ := io.ReadAll(request.Body)
	answer, err := http.Get(string(url))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	digest(w, answer.Body)
}

func main() {
	http.HandleFunc("/blob/", blob)
	http.HandleFunc("/chunks/", chunks)
	http.HandleFunc("/digest", func(w http.ResponseWriter, request *http.Request) { digest(w, request.Body) })
	http.HandleFunc("/fetch", fetch)
	log.Fatal(http.ListenAndServe(os.Args[1]+":"+os.Args[2], nil))
}
