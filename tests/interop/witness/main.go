// A C2SP tlog-witness over loopback whose every proof and signature is checked and made by code from elsewhere: notes and
// consistency proofs by Go's checksum database, cosignatures by transparency-dev. Its memory is lost when it ends.
//
// It draws a key and prints "VKEY URL". Each line of its input is the verifier key of a log that it shall cosign for. It ends
// with its input.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type witness struct {
	lock   sync.Mutex
	signer note.Signer
	logs   map[string]note.Verifier
	seen   map[string]f_log.Checkpoint
}

// cosign is add-checkpoint: the status, and for 200 the signature lines, for 409 the size that is known.
func (w *witness) cosign(body string) (int, string) {
	head, text, found := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	var old uint64
	if _, err := fmt.Sscanf(lines[0], "old %d", &old); err != nil || !found {
		return http.StatusBadRequest, "no old size\n"
	}
	origin, _, _ := strings.Cut(text, "\n")
	w.lock.Lock()
	defer w.lock.Unlock()
	key, known := w.logs[origin]
	if !known {
		return http.StatusNotFound, "unknown log\n"
	}
	next, _, signed, err := f_log.ParseCheckpoint([]byte(text), origin, key)
	if err != nil {
		return http.StatusForbidden, err.Error() + "\n"
	}
	seen := w.seen[origin]
	switch {
	case old > next.Size:
		return http.StatusBadRequest, "old size after the new one\n"
	case old != seen.Size:
		return http.StatusConflict, fmt.Sprintf("%d\n", seen.Size)
	case old == next.Size && old > 0 && string(seen.Hash) != string(next.Hash):
		return http.StatusConflict, fmt.Sprintf("%d\n", seen.Size)
	}
	if old > 0 && old < next.Size {
		var proof tlog.TreeProof
		for _, line := range lines[1:] {
			hash, err := tlog.ParseHash(line)
			if err != nil {
				return http.StatusBadRequest, err.Error() + "\n"
			}
			proof = append(proof, hash)
		}
		err := tlog.CheckTree(proof, int64(next.Size), tlog.Hash(next.Hash), int64(old), tlog.Hash(seen.Hash))
		if err != nil {
			return http.StatusUnprocessableEntity, err.Error() + "\n"
		}
	}
	signature, err := w.signer.Sign([]byte(signed.Text))
	if err != nil {
		return http.StatusInternalServerError, err.Error() + "\n"
	}
	w.seen[origin] = *next
	hash := w.signer.KeyHash()
	id := []byte{byte(hash >> 24), byte(hash >> 16), byte(hash >> 8), byte(hash)}
	encoded := base64.StdEncoding.EncodeToString(append(id, signature...))
	return http.StatusOK, fmt.Sprintf("— %s %s\n", w.signer.Name(), encoded)
}

func (w *witness) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 64<<10))
	if err != nil {
		response.WriteHeader(http.StatusBadRequest)
		return
	}
	status, answer := w.cosign(string(body))
	if status == http.StatusConflict {
		response.Header().Set("Content-Type", "text/x.tlog.size")
	}
	response.WriteHeader(status)
	_, _ = io.WriteString(response, answer)
}

func main() {
	secret, public, err := note.GenerateKey(rand.Reader, "foreign.example/witness")
	check(err)
	signer, err := f_note.NewSignerForCosignatureV1(secret)
	check(err)
	verifier, err := f_note.VKeyToCosignatureV1(public)
	check(err)
	server := &witness{
		signer: signer,
		logs:   map[string]note.Verifier{},
		seen:   map[string]f_log.Checkpoint{},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	mux := http.NewServeMux()
	mux.Handle("POST /add-checkpoint", server)
	go func() { check(http.Serve(listener, mux)) }()
	fmt.Printf("%s http://%s\n", verifier, listener.Addr())

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		key, err := note.NewVerifier(lines.Text())
		check(err)
		server.lock.Lock()
		server.logs[key.Name()] = key
		server.lock.Unlock()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
